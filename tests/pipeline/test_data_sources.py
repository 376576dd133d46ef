"""What is loaded: splits, contents, digests and the cache."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from fairnas.pipeline.data import Dataset, FileImages, MemoryImages, eval_batches, folder, load_dataset
from PIL import Image

CLASSES = ("cat", "dog", "emu")


def shade_of(split: str, label: int, index: int) -> int:
    """A grey level that tells every image of the set from all others."""
    return 10 + (0 if split == "train" else 150) + label * 25 + index


@pytest.fixture
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Flat grey images, 20 a class to train on and 5 to validate on, losslessly stored."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    for split, count in (("train", 20), ("val", 5)):
        for label, name in enumerate(CLASSES):
            (tmp_path / "set" / split / name).mkdir(parents=True)
            for index in range(count):
                image = Image.new("L", (32, 32), shade_of(split, label, index))
                image.save(tmp_path / "set" / split / name / f"{index:02d}.png")
    return tmp_path / "set"


def shades(images: MemoryImages) -> list[int]:
    return images.batch(torch.arange(len(images)))[:, 0, 0, 0].tolist()


def memory(images: object) -> MemoryImages:
    assert isinstance(images, MemoryImages)
    return images


def test_splits_are_disjoint_stratified_and_complete(root: Path) -> None:
    data = load_dataset(str(root), heldout=0.25, seed=3)
    assert data.classes == list(CLASSES)
    assert (data.name, data.demonstration, data.native_resolution) == ("set", False, 32)
    train, heldout, val, full = (
        set(shades(memory(images))) for images in (data.train, data.heldout, data.val, data.full_train)
    )
    assert not train & heldout
    assert not (train | heldout) & val
    assert train | heldout == full == {shade_of("train", label, i) for label in range(3) for i in range(20)}
    assert val == {shade_of("val", label, i) for label in range(3) for i in range(5)}
    assert data.heldout.labels.bincount().tolist() == [5, 5, 5]
    assert data.train.labels.bincount().tolist() == [15, 15, 15]


def test_labels_follow_images(root: Path) -> None:
    data = load_dataset(str(root), heldout=0.25, seed=3)
    for images in (data.train, data.heldout, data.full_train):
        assert [(shade - 10) // 25 for shade in shades(memory(images))] == images.labels.tolist()


def test_split_depends_on_the_seed_alone(root: Path) -> None:
    def held(seed: int) -> list[int]:
        return shades(memory(load_dataset(str(root), heldout=0.25, seed=seed).heldout))

    torch.manual_seed(0)
    first = held(3)
    torch.manual_seed(1)
    assert held(3) == first
    assert held(4) != first


def test_at_least_one_image_of_every_class_is_held_out(root: Path) -> None:
    data = load_dataset(str(root), heldout=0.001, seed=0)
    assert sorted(data.heldout.labels.tolist()) == [0, 1, 2]
    assert len(load_dataset(str(root), heldout=0.999, seed=0).train) == 3


def test_held_out_images_do_not_lie_class_by_class() -> None:
    labels = load_dataset("digits", heldout=0.2, seed=0).heldout.labels
    assert all(len(set(part.tolist())) >= 8 for part in labels.split(40)[:-1])


def test_files_give_the_same_sets_as_memory(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def evaluated(data: Dataset) -> list[torch.Tensor]:
        sets = (data.train, data.heldout, data.val)
        return [images for split in sets for images, _ in eval_batches(split, batch_size=7, resolution=32, workers=0)]

    small = load_dataset(str(root), heldout=0.25, seed=3)
    monkeypatch.setattr(folder, "IN_MEMORY_BYTES", 0)
    large = load_dataset(str(root), heldout=0.25, seed=3)
    assert isinstance(large.train, FileImages)
    assert large.native_resolution == 32
    for ours, theirs in zip(evaluated(small), evaluated(large), strict=True):
        torch.testing.assert_close(ours, theirs)


def test_digest_follows_contents_and_names_only(root: Path) -> None:
    digest = load_dataset(str(root), heldout=0.25, seed=3).digest
    copy = root.parent / "copy"
    shutil.copytree(root, copy, copy_function=shutil.copyfile)
    assert load_dataset(str(copy), heldout=0.5, seed=4).digest == digest
    Image.new("L", (32, 32), 255).save(copy / "val" / "emu" / "00.png")
    assert load_dataset(str(copy), heldout=0.25, seed=3).digest != digest
    (root / "val" / "emu" / "00.png").rename(root / "val" / "emu" / "99.png")
    assert load_dataset(str(root), heldout=0.25, seed=3).digest != digest


def test_cache_is_used_checked_and_not_needed(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def load(*, cache: bool = True) -> tuple[list[int], str]:
        data = load_dataset(str(root), heldout=0.25, seed=3, cache=cache)
        return shades(memory(data.full_train)), data.digest

    cache = root.parent / "cache"
    fresh = load(cache=False)
    assert not cache.exists()
    assert load() == fresh
    (stored,) = cache.rglob("*.*")

    with monkeypatch.context() as patch:
        patch.setattr(folder, "decode_files", lambda *_: pytest.fail("decoded although cached"))
        assert load() == fresh

    stored.write_bytes(stored.read_bytes()[:1000])
    assert load() == fresh
    stored.unlink()
    stored.parent.rmdir()
    stored.parent.write_text("a file where the cache folder should be")
    assert load() == fresh


def test_images_of_all_kinds_become_rgb_squares(root: Path) -> None:
    tall = Image.new("RGB", (32, 96))
    tall.paste((200, 100, 50), (0, 32, 32, 64))  # only the centre square is coloured
    tall.save(root / "val" / "cat" / "tall.png")
    Image.new("RGBA", (64, 64), (200, 100, 50, 128)).save(root / "val" / "cat" / "transparent.png")
    Image.new("CMYK", (40, 40)).save(root / "val" / "cat" / "print.jpg")
    Image.new("P", (40, 40)).save(root / "val" / "cat" / "palette.gif.bmp", "BMP")
    exif = Image.Exif()
    exif[0x0112] = 6  # turned by 90 degrees
    turned = Image.new("RGB", (32, 32))
    turned.paste((255, 255, 255), (0, 0, 32, 16))  # white above; upright it is white on the right
    turned.save(root / "val" / "cat" / "turned.jpg", exif=exif, quality=95)
    data = load_dataset(str(root), heldout=0.25, seed=3)
    names = sorted(path.name for path in (root / "val" / "cat").iterdir())
    pixels = memory(data.val).batch(torch.arange(len(names)))
    assert pixels.shape == (10, 3, 32, 32)
    assert pixels[names.index("tall.png"), :, 16, 16].tolist() == [200, 100, 50]
    assert pixels[names.index("tall.png"), :, 2, 16].tolist() == [200, 100, 50]
    assert pixels[names.index("transparent.png"), :, 5, 5].tolist() == [200, 100, 50]
    assert pixels[names.index("turned.jpg"), 0, 5, 28] > 200
    assert pixels[names.index("turned.jpg"), 0, 28, 5] < 50


def test_large_images_are_decoded_at_the_usual_size_before_a_crop(tmp_path: Path) -> None:
    for split in ("train", "val"):
        for name in ("cat", "dog"):
            (tmp_path / split / name).mkdir(parents=True)
            for index in range(2):
                shade = (10 * index, 100 * (split == "val"), 100 * (name == "cat"))
                Image.new("RGB", (900, 700), shade).save(tmp_path / split / name / f"{index}.jpg")
    data = load_dataset(str(tmp_path), heldout=0.5, seed=0, cache=False)
    assert data.native_resolution == 256
    assert data.crop_pct == 0.875
    assert memory(data.val).batch(torch.tensor([0])).shape == (1, 3, 256, 256)


def test_digits_need_nothing() -> None:
    data = load_dataset("digits", heldout=0.1, seed=0)
    assert data.demonstration
    assert data.classes == [str(digit) for digit in range(10)]
    assert len(data.full_train) + len(data.val) == 1797
    assert len(data.val) == pytest.approx(1797 / 5, abs=10)
    assert data.native_resolution == 8
    pixels = memory(data.full_train).batch(torch.arange(len(data.full_train)))
    assert (pixels.min(), pixels.max()) == (0, 255)
    np.testing.assert_allclose(data.mean, (pixels / 255).mean((0, 2, 3)), atol=1e-4)
    np.testing.assert_allclose(data.std, (pixels / 255).permute(1, 0, 2, 3).flatten(1).std(1), atol=1e-4)
    assert data.digest == load_dataset("digits", heldout=0.3, seed=5).digest
    val = memory(load_dataset("digits", heldout=0.3, seed=5).val)
    assert torch.equal(val.batch(torch.arange(50)), memory(data.val).batch(torch.arange(50)))
