"""Bad data: one line that names the culprit, and nothing written."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from fairnas.pipeline.data import Augment, folder, load_dataset
from fairnas.pipeline.data.augment import auto_policy
from fairnas.pipeline.errors import UserError
from PIL import Image
from pydantic import ValidationError

CLASSES = ("cat", "dog", "emu")


def write_image(path: Path, seed: int, size: tuple[int, int] = (24, 20)) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    noise = np.random.default_rng(seed).integers(0, 256, (size[1], size[0], 3), dtype=np.uint8)
    Image.fromarray(noise).save(path)
    return path


@pytest.fixture
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A sound class folder; caches go to `tmp_path / "cache"`."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.delenv("FAIRNAS_DATA", raising=False)
    seed = 0
    for split, count in (("train", 10), ("val", 3)):
        for name in CLASSES:
            for index in range(count):
                write_image(tmp_path / "set" / split / name / f"{index}.jpg", seed := seed + 1)
    return tmp_path / "set"


def remove(folder: Path) -> None:
    for path in folder.iterdir():
        path.unlink()
    folder.rmdir()


def empty_class(root: Path) -> str:
    remove(root / "train" / "dog")
    (root / "train" / "dog").mkdir()
    (root / "train" / "dog" / "notes.txt").write_text("no image")
    return r"class dog is empty: no images in .*/set/train/dog; "


def class_missing_from_val(root: Path) -> str:
    remove(root / "val" / "emu")
    return r"class emu is missing: there is no .*/set/val/emu; "


def class_missing_from_train(root: Path) -> str:
    remove(root / "train" / "cat")
    return r"class cat is missing: there is no .*/set/train/cat; "


def no_val(root: Path) -> str:
    (root / "val").rename(root / "test")
    return r"no val/ in .*/set \(folders found: test, train\); "


def one_folder_for_both(root: Path) -> str:
    for name in CLASSES:
        remove(root / "val" / name)
    (root / "val").rmdir()
    (root / "val").symlink_to("train")
    return r"train/ and val/ in .*/set are one folder; "


def one_class(root: Path) -> str:
    for split in ("train", "val"):
        for name in ("dog", "emu"):
            remove(root / split / name)
    return r".*/set/train holds 1 class folders; at least 2 are needed"


def nothing_to_hold_out(root: Path) -> str:
    for index in range(1, 10):
        (root / "train" / "emu" / f"{index}.jpg").unlink()
    return r"class emu has 1 training images, too few to hold one out; "


def truncated_jpeg(root: Path) -> str:
    path = root / "train" / "dog" / "3.jpg"
    path.write_bytes(path.read_bytes()[:-200])
    return r"broken image .*/set/train/dog/3\.jpg: .*truncated.*; replace or remove it$"


def truncated_png(root: Path) -> str:
    path = write_image(root / "val" / "dog" / "9.png", seed=99)
    path.write_bytes(path.read_bytes()[:-300])
    return r"broken image .*/set/val/dog/9\.png: .*; replace or remove it$"


def two_broken_images(root: Path) -> str:
    (root / "train" / "cat" / "5.jpg").write_bytes(b"")
    (root / "val" / "cat" / "0.jpg").write_text("<html>not found</html>")
    return r"broken image .*/set/train/cat/5\.jpg: it is empty; replace or remove it \(1 more images are broken too\)$"


def text_as_image(root: Path) -> str:
    (root / "val" / "cat" / "0.jpg").write_text("<html>not found</html>")
    return r"broken image .*/set/val/cat/0\.jpg: it is not an image of a known format; "


def sixteen_bits(root: Path) -> str:
    Image.fromarray(np.full((20, 20), 40000, dtype=np.uint16)).save(root / "train" / "cat" / "deep.png")
    return r"broken image .*/set/train/cat/deep\.png: more than 8 bits per channel; "


FAULTS = [
    empty_class,
    class_missing_from_val,
    class_missing_from_train,
    no_val,
    one_folder_for_both,
    one_class,
    nothing_to_hold_out,
    truncated_jpeg,
    truncated_png,
    two_broken_images,
    text_as_image,
    sixteen_bits,
]


@pytest.mark.parametrize("in_memory", [True, False], ids=["memory", "files"])
@pytest.mark.parametrize("fault", FAULTS, ids=lambda fault: fault.__name__)
def test_fault_is_named_in_one_line_and_nothing_is_written(
    fault: Callable[[Path], str], in_memory: bool, root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    if not in_memory:
        monkeypatch.setattr(folder, "IN_MEMORY_BYTES", 0)
    pattern = fault(root)
    before = sorted(root.parent.rglob("*"))
    with pytest.raises(UserError) as caught:
        load_dataset(str(root), heldout=0.2, seed=0)
    assert re.match(pattern, str(caught.value)), str(caught.value)
    assert "\n" not in str(caught.value)
    assert sorted(root.parent.rglob("*")) == before


def test_wrong_path(root: Path) -> None:
    with pytest.raises(UserError, match=r"^no such folder: .*/sett; give a folder that holds train/ and val/"):
        load_dataset(f"{root}t", heldout=0.2, seed=0)
    with pytest.raises(UserError, match=r"^no such folder: cifar-10; .*did you mean cifar10\?$"):
        load_dataset("cifar-10", heldout=0.2, seed=0)
    with pytest.raises(UserError, match=r"0\.jpg is a file; give a folder"):
        load_dataset(str(root / "val" / "cat" / "0.jpg"), heldout=0.2, seed=0)
    assert not (root.parent / "cache").exists()


@pytest.mark.parametrize("fraction", [0.0, 1.0, -0.1])
def test_held_out_fraction(fraction: float, root: Path) -> None:
    with pytest.raises(UserError, match="must lie between 0 and 1"):
        load_dataset(str(root), heldout=fraction, seed=0)


def test_many_files_are_read_by_processes(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("fairnas.pipeline.data.decode.IN_PROCESS", 1)
    sound = load_dataset(str(root), heldout=0.2, seed=0)
    assert len(sound.full_train) == 30
    pattern = truncated_jpeg(root)
    with pytest.raises(UserError, match=pattern):
        load_dataset(str(root), heldout=0.2, seed=0)


def test_bytes_after_the_end_of_an_image_are_no_fault(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(folder, "IN_MEMORY_BYTES", 0)
    path = root / "train" / "cat" / "0.jpg"
    path.write_bytes(path.read_bytes() + b"trailing")
    assert len(load_dataset(str(root), heldout=0.2, seed=0).full_train) == 30


@pytest.mark.parametrize("name", ["cifar10", "imagenet"])
def test_a_set_that_cannot_be_had(name: str, root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise OSError("Network is unreachable")

    monkeypatch.setattr("socket.socket.connect", refuse)
    monkeypatch.setattr("socket.getaddrinfo", refuse)
    monkeypatch.setenv("FAIRNAS_DATA", str(root.parent / "data"))
    with pytest.raises(UserError, match=rf"{name if name == 'cifar10' else 'ImageNet'}.*FAIRNAS_DATA") as caught:
        load_dataset(name, heldout=0.2, seed=0)
    assert "\n" not in str(caught.value)
    assert not (root.parent / "data").exists()


def test_a_damaged_download(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FAIRNAS_DATA", str(root.parent))
    (root.parent / "cifar-10-batches-py").mkdir()
    with pytest.raises(UserError, match=r"^cifar10 in .*/cifar-10-batches-py is damaged"):
        load_dataset("cifar10", heldout=0.2, seed=0)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"level": "zoom"}, "Input should be 'none', 'flip' or 'crop'"),
        ({"scale": (0.5, 0.2)}, "expected two rising numbers"),
        ({"flip": 2.0}, "less than or equal to 1"),
    ],
)
def test_augmentation_settings(settings: dict, message: str) -> None:
    with pytest.raises(ValidationError, match=message):
        Augment(**settings)


@pytest.mark.parametrize("policy", ["randd-m9", "rand-q9"])
def test_a_policy_that_timm_does_not_know(policy: str) -> None:
    with pytest.raises(UserError, match=f"unknown augmentation policy {policy}"):
        auto_policy(policy, 224, (0.5, 0.5, 0.5))
