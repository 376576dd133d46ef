"""Contents tell image sets apart, and decoded images are what was stored, or are decoded anew."""

from __future__ import annotations

import fcntl
import os
import shutil
import time
from pathlib import Path

import pytest
import torch
from fairnas.pipeline.data import Dataset, MemoryImages, cache, folder, load_dataset
from fairnas.pipeline.data.overlap import overlaps
from fairnas.pipeline.errors import UserError
from PIL import Image

LONG_AGO = 315_532_800


@pytest.fixture
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Grey images of one size, whose times are all one, as in reproducible archives."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return make(tmp_path / "set", 0)


def make(root: Path, first: int) -> Path:
    shade = first
    for split in ("train", "val"):
        for name in ("cat", "dog"):
            (root / split / name).mkdir(parents=True)
            for index in range(4):
                paint(root / split / name / f"{index}.bmp", shade := shade + 1)
    return root


def paint(path: Path, shade: int) -> None:
    Image.new("RGB", (8, 8), (shade, shade, shade)).save(path)
    os.utime(path, (LONG_AGO, LONG_AGO))


def load(root: Path) -> Dataset:
    return load_dataset(str(root), heldout=0.25, seed=0)


def first_shade(data: Dataset) -> int:
    assert isinstance(data.val, MemoryImages)
    return int(data.val.batch(torch.tensor([0]))[0, 0, 0, 0])


def kept(root: Path) -> list[Path]:
    return sorted((root.parent / "cache" / "fairnas").iterdir())


@pytest.mark.parametrize("in_memory", [True, False], ids=["memory", "files"])
def test_equal_names_sizes_and_times_are_no_equal_images(
    in_memory: bool, root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    if not in_memory:
        monkeypatch.setattr(folder, "IN_MEMORY_BYTES", 0)
    other = make(root.parent / "other", 100)
    assert load(root).digest != load(other).digest
    assert load(root).val.picture(0).getpixel((0, 0)) == (9, 9, 9)
    assert load(other).val.picture(0).getpixel((0, 0)) == (109, 109, 109)


@pytest.mark.parametrize("in_memory", [True, False], ids=["memory", "files"])
@pytest.mark.parametrize("way", ["in place", "renamed over"])
def test_a_change_that_keeps_size_and_time_is_noticed(
    in_memory: bool, way: str, root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    if not in_memory:
        monkeypatch.setattr(folder, "IN_MEMORY_BYTES", 0)
    before = load(root)
    path = root / "val" / "cat" / "0.bmp"
    if way == "in place":
        paint(path, 77)
    else:
        paint(root / "new.bmp", 77)
        shutil.move(root / "new.bmp", path)
    assert path.stat().st_mtime == LONG_AGO
    after = load(root)
    assert after.digest != before.digest
    assert after.val.picture(0).getpixel((0, 0)) == (77, 77, 77)


def test_the_set_that_took_the_place_of_another_is_read(root: Path) -> None:
    assert first_shade(load(root)) == 9
    root.rename(root.parent / "old")
    make(root, 100)
    assert first_shade(load(root)) == 109


def test_a_second_start_reads_no_image(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(folder, "IN_MEMORY_BYTES", 0)
    digest = load(root).digest
    monkeypatch.setattr("fairnas.pipeline.data.decode.read_image", lambda path: pytest.fail(f"{path} was read"))
    assert load(root).digest == digest


def test_a_change_within_one_tick_of_the_clock_cannot_be_missed(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What is read before the tick in which a file was written ends may change again under the same time."""
    monkeypatch.setattr(folder, "FINE_NS", 3 * 10**8)
    written = max(path.stat().st_ctime_ns for path in root.rglob("*.bmp"))
    started: list[int] = []
    read = folder.decode_files
    monkeypatch.setattr(folder, "decode_files", lambda *a: started.append(time.time_ns()) or read(*a))
    load(root)
    assert started[0] >= written + folder.FINE_NS


def test_flipped_bytes_of_the_cache_are_noticed_and_said(root: Path) -> None:
    fresh = load(root)
    assert not fresh.notes
    (stored,) = kept(root)
    content = bytearray(stored.read_bytes())
    content[-1] ^= 1  # of a pixel: the file's structure is sound
    stored.write_bytes(content)
    again = load(root)
    assert [note.partition(":")[0] for note in again.notes] == ["the cache of decoded images is damaged"]
    assert first_shade(again) == first_shade(fresh)
    assert not load(root).notes


def test_a_changed_digest_in_the_cache_is_noticed(root: Path) -> None:
    fresh = load(root)
    (stored,) = kept(root)
    stored.write_bytes(stored.read_bytes().replace(fresh.digest.encode(), b"0" * 64))
    assert load(root).digest == fresh.digest


def test_a_fifo_in_the_place_of_the_cache_is_passed_over(root: Path) -> None:
    fresh = load(root)
    (stored,) = kept(root)
    stored.unlink()
    os.mkfifo(stored)
    assert load(root).digest == fresh.digest


def test_leftovers_of_killed_processes_are_removed(root: Path) -> None:
    load(root)
    (stored,) = kept(root)
    stored.with_suffix(".123.partial").write_bytes(b"what an earlier version left")
    stored.with_suffix(".1.partial").mkdir()
    (stored.with_suffix(".1.partial") / "half").write_bytes(b"what this one leaves")
    load(root)
    assert kept(root) == [stored]


def test_what_another_process_is_writing_stays(root: Path) -> None:
    load(root)
    (stored,) = kept(root)
    partial = stored.with_suffix(".1.partial")
    partial.mkdir()
    writer = os.open(stored.parent, os.O_RDONLY)
    try:
        fcntl.flock(writer, fcntl.LOCK_SH)
        cache.tidy()
        assert partial.exists()
    finally:
        os.close(writer)
    cache.tidy()
    assert not partial.exists()


def test_nothing_is_kept_where_nobody_has_a_home(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def nowhere() -> Path:
        raise RuntimeError("Could not determine home directory.")

    monkeypatch.delenv("XDG_CACHE_HOME")
    monkeypatch.setattr(Path, "home", nowhere)
    assert first_shade(load(root)) == 9


def test_validation_images_that_are_trained_on(root: Path) -> None:
    for name in ("cat", "dog"):
        shutil.copy(root / "train" / name / "1.bmp", root / "val" / name / "copy.bmp")
    expected = (
        "2 of 10 validation images are also training images (the first: val/cat/copy.bmp equals train/cat/1.bmp): "
        "the accuracy that is reported will be too high",
    )
    assert load(root).notes == expected
    assert load(root).notes == expected  # from the cache


@pytest.mark.parametrize("way", ["copied", "linked"])
def test_validating_on_training_images_only_is_refused(way: str, root: Path) -> None:
    for name in ("cat", "dog"):
        shutil.rmtree(root / "val" / name)
        if way == "copied":
            shutil.copytree(root / "train" / name, root / "val" / name)
        else:
            (root / "val" / name).symlink_to(root / "train" / name)
    with pytest.raises(UserError, match=r"^all 8 validation images are also training images \(the first: val/cat/0\.b"):
        load(root)
    assert not (root.parent / "cache").exists()


def test_equal_images_of_two_classes_are_told() -> None:
    names = ["train/cat/0", "train/cat/1", "train/dog/0", "val/cat/0"]
    labels = torch.tensor([0, 0, 1])
    assert overlaps(names, ["a", "b", "a", "c"], labels, 3) == [
        "1 training images have an equal one in another class (the first: train/dog/0 equals train/cat/0)"
    ]
    assert overlaps(names, ["a", "a", "b", "c"], labels, 3) == []


def test_digest_of_sound_names_is_what_it_always_was(root: Path) -> None:
    """Run folders made before are found finished: they recorded sha256 over `name NUL sha256 LF`, in order."""
    import hashlib

    digest = hashlib.sha256()
    for split in ("train", "val"):
        for path in sorted((root / split).rglob("*.bmp")):
            content = hashlib.sha256(path.read_bytes()).hexdigest()
            digest.update(f"{path.relative_to(root)}\0{content}\n".encode())
    assert load(root).digest == digest.hexdigest()
