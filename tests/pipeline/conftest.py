"""One unbroken run and one parent of processes for all tests that need them."""

from __future__ import annotations

import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from fairnas.pipeline import stopping

from . import tiny
from .processes import Processes


@pytest.fixture(scope="session")
def unbroken(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A finished run of the tiny preset, made by the command in a process of its own. Not to be written to."""
    run = tmp_path_factory.mktemp("unbroken") / "run"
    command = [sys.executable, "-m", "fairnas.pipeline.cli", *tiny.arguments(run)]
    finished = subprocess.run(command, capture_output=True, text=True, check=False)
    assert finished.returncode == 0, finished.stderr
    return run


@pytest.fixture
def signals() -> Iterator[None]:
    """Puts back what signals do, and forgets those that came."""
    before = {number: signal.getsignal(number) for number in stopping.NUMBERS}
    yield
    stopping.forget(before)


@pytest.fixture(scope="session")
def processes() -> Iterator[Processes]:
    started = Processes()
    yield started
    started.close()
