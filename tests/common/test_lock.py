"""A lock refuses the second process with who holds the first, and goes with its holder."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from fairnas.common.errors import FairnasError
from fairnas.common.lock import held

_HOLDER = """
import fcntl, os, sys
file = os.open(sys.argv[1], os.O_RDWR | os.O_CREAT)
fcntl.lockf(file, fcntl.LOCK_EX)
os.write(file, b"process 42 on elsewhere")
print("held", flush=True)
sys.stdin.read()
"""


def test_a_second_process_is_refused_with_who_holds_it(tmp_path: Path) -> None:
    path = tmp_path / "profile" / ".lock"
    path.parent.mkdir()
    command = [sys.executable, "-c", _HOLDER, str(path)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as other:
        assert other.stdout
        assert other.stdout.readline() == "held\n"
        with pytest.raises(FairnasError) as refusal, held(path, "the folder", "wait"):
            pytest.fail("two hold it")
        assert str(refusal.value) == "the folder is in use by process 42 on elsewhere: wait"
        assert path.exists()
        other.kill()
        other.wait()
    with held(path, "the folder", "wait"):
        assert path.read_text().startswith(f"process {os.getpid()} on ")
    assert not path.exists()


def test_a_link_in_its_place_is_not_written_through(tmp_path: Path) -> None:
    (tmp_path / "mine").write_text("precious")
    (tmp_path / ".lock").symlink_to(tmp_path / "mine")
    with pytest.raises(FairnasError, match="cannot write"), held(tmp_path / ".lock", "it", "wait"):
        pytest.fail("written through")
    assert (tmp_path / "mine").read_text() == "precious"


def test_a_file_of_somebody_elses_in_its_place_is_refused_and_left(tmp_path: Path) -> None:
    path = tmp_path / ".table.json.lock"
    path.write_text("my notes")
    with pytest.raises(FairnasError, match="was not made as a lock: move it elsewhere"), held(path, "it", "wait"):
        pytest.fail("taken as a lock")
    assert path.read_text() == "my notes"
    path.unlink()
    os.mkfifo(path)
    with pytest.raises(FairnasError, match="is not a regular file"), held(path, "it", "wait"):
        pytest.fail("taken as a lock")
    assert path.is_fifo()


def test_an_empty_file_that_was_there_before_stays(tmp_path: Path) -> None:
    (tmp_path / ".lock").touch()
    with held(tmp_path / ".lock", "it", "wait"):
        pass
    assert (tmp_path / ".lock").read_bytes() == b""


def test_it_goes_also_when_the_work_fails(tmp_path: Path) -> None:
    with pytest.raises(ZeroDivisionError), held(tmp_path / ".lock", "it", "wait"):
        raise ZeroDivisionError
    assert list(tmp_path.iterdir()) == []
