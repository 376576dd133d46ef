"""Writing replaces links and never follows them."""

import os
from pathlib import Path

import pytest
from fairnas.common.files import is_temporary, write_atomic, write_json


def test_a_link_in_the_files_place_is_replaced(tmp_path: Path) -> None:
    victim = tmp_path / "victim"
    victim.write_text("precious")
    (tmp_path / "file").symlink_to(victim)
    write_atomic(tmp_path / "file", "new")
    assert victim.read_text() == "precious"
    assert (tmp_path / "file").read_text() == "new"
    assert not (tmp_path / "file").is_symlink()


def test_a_link_in_the_temporary_files_place_is_not_written_through(tmp_path: Path) -> None:
    victim = tmp_path / "victim"
    victim.write_text("precious")
    (tmp_path / f".file.{os.getpid()}.fairnas.tmp").symlink_to(victim)
    write_atomic(tmp_path / "file", "new")
    assert victim.read_text() == "precious"
    assert (tmp_path / "file").read_text() == "new"


def test_not_a_number_is_no_json(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="JSON"):
        write_json(tmp_path / "file", {"loss": float("nan")})
    assert not (tmp_path / "file").exists()


def test_only_files_that_writing_makes_are_temporary(tmp_path: Path) -> None:
    for name in (".a.12.fairnas.tmp", ".mine.fairnas.tmp", "a.12.fairnas.tmp"):
        (tmp_path / name).touch()
    (tmp_path / ".link.12.fairnas.tmp").symlink_to(".a.12.fairnas.tmp")
    assert [path.name for path in sorted(tmp_path.iterdir()) if is_temporary(path)] == [".a.12.fairnas.tmp"]
