"""Odd files and names in class folders: read, refused or counted, and never a hang or a traceback."""

from __future__ import annotations

import io
import json
import os
import re
import shutil
import struct
from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import pytest
import torch
from fairnas.exporters.verify import failures, verify
from fairnas.pipeline.data import Dataset, FileImages, MemoryImages, eval_batches, folder, load_dataset
from fairnas.pipeline.data.kinds import SUFFIXES, to_rgb
from fairnas.pipeline.data.split import hold_out
from fairnas.pipeline.errors import UserError
from PIL import Image, features

from ..exporters import small_export

CLASSES = ("cat", "dog")


def noise(seed: int, size: int = 16) -> Image.Image:
    return Image.fromarray(np.random.default_rng(seed).integers(0, 256, (size, size, 3), dtype=np.uint8))


def fill(root: Path, *classes: str, first: int = 0) -> Path:
    for split in ("train", "val"):
        for name in classes:
            (root / split / name).mkdir(parents=True)
            for index in range(3):
                noise(first := first + 1).save(root / split / name / f"{index}.png")
    return root


@pytest.fixture
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return fill(tmp_path / "set", *CLASSES)


def load(root: Path | str) -> Dataset:
    return load_dataset(str(root), heldout=0.3, seed=0)


def note_of(root: Path) -> str:
    (note,) = load(root).notes
    return note


def fifo(folder: Path) -> str:
    os.mkfifo(folder / "pipe.jpg")
    return "ignored: 1 no regular files"


def device(folder: Path) -> str:
    (folder / "endless.jpg").symlink_to("/dev/zero")
    return "ignored: 1 no regular files"


def link_to_nowhere(folder: Path) -> str:
    (folder / "gone.jpg").symlink_to("nowhere.jpg")
    return "ignored: 1 links that lead nowhere"


def link_to_itself(folder: Path) -> str:
    (folder / "self.jpg").symlink_to("self.jpg")
    return "ignored: 1 links that lead nowhere"


def other_kinds(folder: Path) -> str:
    for name in ("a.heic", "b.HEIC", "c.txt", "LICENSE", "._0.png", ".DS_Store"):
        (folder / name).write_bytes(b"no image")
    return "ignored: 2 .heic, 1 .txt, 1 without a suffix, 1 hidden"


def hidden_class(folder: Path) -> str:
    shutil.copytree(folder, folder.parent / ".ipynb_checkpoints")
    return "ignored: 1 hidden folders"


def outside(folder: Path) -> str:
    noise(99).save(folder.parent / "stray.png")
    return "ignored: 1 outside of class folders"


@pytest.mark.parametrize(
    "oddity",
    [fifo, device, link_to_nowhere, link_to_itself, other_kinds, hidden_class, outside],
    ids=lambda oddity: oddity.__name__,
)
def test_what_is_ignored_is_counted(oddity: Callable[[Path], str], root: Path) -> None:
    plain = load(root)
    assert plain.notes == ()
    expected = oddity(root / "train" / "cat")
    odd = load(root)
    assert sorted(odd.notes[0].removeprefix("ignored: ").split(", ")) == sorted(
        expected.removeprefix("ignored: ").split(", ")
    )
    assert odd.digest == plain.digest
    assert len(odd.full_train) == 6


def test_links_in_a_circle_are_followed_once(root: Path) -> None:
    (root / "train" / "cat" / "round").symlink_to(".")
    assert note_of(root) == "ignored: 1 links in a circle"
    assert len(load(root).full_train) == 6


def test_folders_that_nest_too_deeply(root: Path) -> None:
    (root / "train" / "cat" / Path(*"d" * 200)).mkdir(parents=True)
    with pytest.raises(UserError, match=r"lies in more than 64 folders; put its images higher up$"):
        load(root)


def test_a_class_of_kinds_that_are_not_read_says_so(root: Path) -> None:
    for path in (root / "val" / "dog").iterdir():
        path.rename(path.with_suffix(".heic"))
    with pytest.raises(UserError, match=r"^class dog is empty: .*\(ignored: 3 \.heic\)$"):
        load(root)


def test_an_image_that_became_a_fifo_after_it_was_found(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(folder, "IN_MEMORY_BYTES", 0)
    images = load(root).full_train
    assert isinstance(images, FileImages)
    path = Path(images.paths[0])
    path.unlink()
    os.mkfifo(path)
    line = r"^broken image [^:]*/0\.png: .* is not a regular file; replace or remove it$"
    with pytest.raises(UserError, match=line):
        images.picture(0)
    with pytest.raises(UserError, match=line) as caught:  # by a worker process, too
        list(eval_batches(images, batch_size=6, resolution=16, workers=1))
    assert "\n" not in str(caught.value)


def test_names_that_are_not_utf8_are_read(root: Path) -> None:
    odd = os.fsdecode(b"caf\xe9.png")
    (root / "train" / "cat" / "0.png").rename(root / "train" / "cat" / odd)
    data = load(root)
    assert len(data.full_train) == 6
    (root / "train" / "cat" / odd).write_bytes(b"broken")
    with pytest.raises(UserError, match=r"^broken image .*/caf\\xe9\.png: it is not an image") as caught:
        load(root)
    str(caught.value).encode()


def test_a_folder_whose_name_is_not_utf8_is_read(root: Path) -> None:
    assert load(root.rename(root.parent / os.fsdecode(b"s\xe9t\n"))).name == "s\\xe9t\\n"


def test_a_class_whose_name_is_not_utf8_is_refused(root: Path) -> None:
    for split in ("train", "val"):
        (root / split / "cat").rename(root / split / os.fsdecode(b"c\xe9t"))
    with pytest.raises(UserError, match=r"^the class folder c\\xe9t has a name that is not UTF-8; rename it$"):
        load(root)


HOSTILE = [
    "<script>alert(1)<",
    "[red]x[bold]",
    "new\nline",
    "a" * 200,
    "-rf",
    "{{7*7}}",
    "a b",
]


def test_labels_are_the_folders_names(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    data = load(fill(tmp_path / "set", *HOSTILE))
    assert data.classes == sorted(HOSTILE)
    shutil.rmtree(tmp_path / "set" / "val" / "new\nline")
    with pytest.raises(UserError, match=r"^class new\\nline is missing: there is no .*/val/new\\nline; add images$"):
        load(tmp_path / "set")


def test_names_that_differ_in_case(root: Path) -> None:
    fill(root, "Cat", first=50)
    assert note_of(root) == "classes Cat and cat differ in upper and lower case only"
    shutil.rmtree(root / "val" / "Cat")
    with pytest.raises(UserError, match=r"class Cat is missing: .*; rename cat, which differs in case or Unicode form"):
        load(root)


def test_names_that_differ_in_unicode_form_look_the_same(root: Path) -> None:
    fill(root, "caf\u00e9", "cafe\u0301", first=50)
    with pytest.raises(UserError, match=r"^two class folders look the same, caf"):
        load(root)
    shutil.rmtree(root / "train" / "caf\u00e9")
    shutil.rmtree(root / "val" / "cafe\u0301")
    with pytest.raises(UserError, match=r"is missing: .*; rename .*, which differs in case or Unicode form only"):
        load(root)


def test_the_home_of_nobody() -> None:
    with pytest.raises(
        Exception, match=r"^~nosuchuser/images: there is no such home folder; write the whole path$"
    ) as e:
        load("~nosuchuser/images")
    assert e.type.__name__ == "FairnasError"


SAVED_AS = {
    ".jpg": "JPEG",
    ".jpeg": "JPEG",
    ".jpe": "JPEG",
    ".jfif": "JPEG",
    ".png": "PNG",
    ".webp": "WEBP",
    ".avif": "AVIF",
    ".gif": "GIF",
    ".bmp": "BMP",
    ".tif": "TIFF",
    ".tiff": "TIFF",
    ".jp2": "JPEG2000",
    ".ppm": "PPM",
    ".pgm": "PPM",
    ".pbm": "PPM",
    ".pnm": "PPM",
}


def test_every_suffix_that_is_listed_is_read(root: Path) -> None:
    assert set(SAVED_AS) == set(SUFFIXES)
    count = 6
    for suffix, kind in SAVED_AS.items():
        if kind == "AVIF" and not features.check("avif"):
            continue
        Image.new("RGB", (16, 16), (200, 100, 50)).save(root / "val" / "cat" / f"x{suffix.upper()}", kind)
        count += 1
    data = load(root)
    assert data.notes == ()
    assert len(data.val) == count
    assert isinstance(data.val, MemoryImages)
    pixels = data.val.batch(torch.arange(3, count - 3))[:, :, 8, 8].int()
    assert (pixels - torch.tensor([200, 100, 50])).abs().max() <= 12  # lossy kinds, and GIF's palette


def encoded(image: Image.Image, kind: str, **settings: object) -> bytes:
    content = io.BytesIO()
    image.save(content, kind, **settings)
    return content.getvalue()


def test_the_rule_by_which_pixels_become_rgb() -> None:
    red, blue = Image.new("RGB", (4, 4), (255, 0, 0)), Image.new("RGB", (4, 4), (0, 0, 255))
    colour = (200, 100, 50)
    cases: list[tuple[bytes, tuple[int, int, int]]] = [
        (encoded(red, "GIF", save_all=True, append_images=[blue]), (255, 0, 0)),  # the first frame
        (encoded(red, "WEBP", save_all=True, append_images=[blue], lossless=True), (255, 0, 0)),
        (encoded(red, "PNG", save_all=True, append_images=[blue]), (255, 0, 0)),
        (encoded(red, "TIFF", save_all=True, append_images=[blue]), (255, 0, 0)),
        (encoded(Image.new("RGBA", (4, 4), (*colour, 3)), "PNG"), colour),  # transparency is dropped
        (encoded(Image.new("LA", (4, 4), (90, 0)), "PNG"), (90, 90, 90)),
        (encoded(Image.new("RGB", (4, 4), colour).quantize(2), "PNG", transparency=0), colour),
        (encoded(Image.new("1", (4, 4), 1), "PNG"), (255, 255, 255)),
        (encoded(Image.new("CMYK", (4, 4), (0, 255, 255, 0)), "TIFF"), (255, 0, 0)),
        (encoded(Image.new("L", (4, 4), 90), "PNG"), (90, 90, 90)),
    ]
    for content, expected in cases:
        assert to_rgb(content).getpixel((1, 1)) == expected
    for deep in (np.full((4, 4), 300, np.uint16), np.full((4, 4), 0.5, np.float32)):
        with pytest.raises(ValueError, match="more than 8 bits per channel"):
            to_rgb(encoded(Image.fromarray(deep), "TIFF"))


@pytest.mark.parametrize("orientation", range(1, 9))
def test_every_orientation_of_exif_ends_upright(orientation: int) -> None:
    upright = np.zeros((6, 4, 3), np.uint8)
    upright[0, 0] = 255
    turn = {2: 0, 3: 3, 4: 1, 5: 5, 6: 2, 7: 6, 8: 4}  # the transposition that undoes each
    stored = Image.fromarray(upright)
    if orientation in turn:
        stored = stored.transpose(Image.Transpose(turn[orientation]))
    exif = Image.Exif()
    exif[0x0112] = orientation
    assert np.array_equal(np.asarray(to_rgb(encoded(stored, "PNG", exif=exif))), upright)


def test_exif_that_cannot_be_read_is_no_fault() -> None:
    picture = noise(1)
    for exif in (
        b"Exif\0\0",
        b"Exif\0\0MM\0*\0\0\0\x08\xff\xff",
        b"Exif\0\0II*\0\xff\xff\xff\xff",
        b"Exif\0\0" + b"\xff" * 99,
    ):
        assert np.array_equal(np.asarray(to_rgb(encoded(picture, "PNG", exif=exif))), np.asarray(picture))


def test_only_decoders_of_images_see_a_file(root: Path) -> None:
    """PostScript would be handed to a program."""
    (root / "train" / "cat" / "0.png").write_bytes(encoded(noise(1), "EPS"))
    with pytest.raises(UserError, match=r"cat/0\.png: it is not an image of a known format"):
        load(root)


def test_large_images_are_read_without_a_warning(
    root: Path, monkeypatch: pytest.MonkeyPatch, recwarn: pytest.WarningsRecorder
) -> None:
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 200)
    load(root)
    assert not recwarn.list
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 100)
    shutil.rmtree(root.parent / "cache")
    with pytest.raises(
        UserError, match=r"^broken image .*: Image size \(256 pixels\) exceeds limit .* \(11 more images"
    ):
        load(root)


def test_an_image_too_large_for_the_memory_is_named(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def too_large(*_: object) -> None:
        raise MemoryError

    monkeypatch.setattr("fairnas.pipeline.data.decode.to_rgb", too_large)
    with pytest.raises(UserError, match=r"^broken image .*: this machine's memory is too small to decode it; replace"):
        load(root)


def test_a_png_cut_in_the_middle_of_a_chunk(root: Path) -> None:
    path = root / "val" / "dog" / "2.png"
    content = path.read_bytes()
    (length,) = struct.unpack(">I", content[33:37])
    path.write_bytes(content[: 41 + length // 2])
    with pytest.raises(UserError, match=r"^broken image .*val/dog/2\.png: .*; replace or remove it$"):
        load(root)


def test_nothing_is_printed_where_there_is_no_terminal(root: Path, capfd: pytest.CaptureFixture[str]) -> None:
    load(root)
    assert capfd.readouterr() == ("", "")


def test_thousands_of_classes_are_split() -> None:
    labels = torch.arange(20_000) % 4_000
    train, held = hold_out(labels, [str(label) for label in range(4_000)], 0.2, 0)
    assert torch.equal(labels[held].bincount(), torch.ones(4_000, dtype=torch.int64))
    assert torch.equal(torch.cat([train, held]).sort().values, torch.arange(20_000))


def test_classes_are_split_as_they_always_were() -> None:
    labels = torch.tensor([2, 0, 1, 0, 2, 1, 0, 2, 1, 0, 2, 1])
    generator = torch.Generator().manual_seed(5)
    expected = []
    for label in range(3):
        members = torch.nonzero(labels == label).flatten()
        expected += members[torch.randperm(len(members), generator=generator)[:2]].tolist()
    assert hold_out(labels, ["a", "b", "c"], 0.5, 5)[1].tolist() == sorted(expected)


def test_notes_are_shown_by_the_command(root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    from fairnas.pipeline.check_settings import load_config
    from fairnas.pipeline.stages.context import open_dataset

    (root / "train" / "cat" / "a.[red]x").write_bytes(b"")
    root = root.rename(root.parent / "[red]set")
    open_dataset(load_config("tiny", [f"data.source={root}"]))
    captured = capsys.readouterr()
    shown = captured.out + captured.err
    assert "[red]set: 2 classes" in shown
    assert "ignored: 1 .[red]x" in shown
    assert re.search(r"4 to train, 2 held out, 6 to validate", shown)


def test_exports_carry_hostile_labels_unchanged_and_verify(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    labels = sorted(HOSTILE)
    monkeypatch.setattr(small_export, "CLASSES", tuple(labels))
    passport = small_export.small_export(tmp_path / "export")
    assert passport.classes == labels
    assert json.loads((tmp_path / "export" / "passport.json").read_text())["classes"] == labels
    metadata = onnx.load(tmp_path / "export" / "model.onnx").metadata_props
    assert [json.loads(entry.value) for entry in metadata if entry.key == "labels"] == [labels]
    page = (tmp_path / "export" / "passport.html").read_text()
    assert "&lt;script&gt;alert(1)&lt;" in page
    assert "<script>alert" not in page
    assert not failures(verify(tmp_path / "export"))
