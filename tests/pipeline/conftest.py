"""One unbroken run and one parent of processes for all tests that need them."""

from __future__ import annotations

import fcntl
import os
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from fairnas.pipeline.runs import stopping

from . import tiny
from .processes import Processes, fairnas


@pytest.fixture(scope="session")
def unbroken(processes: Processes, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A finished run of the tiny preset, made by the command in a process of its own. Not to be written to.

    One for all that test at once: the first to need it makes it, the others wait.
    """
    shared = tmp_path_factory.getbasetemp()
    if "PYTEST_XDIST_WORKER" in os.environ:
        shared = shared.parent
    run, made = shared / "unbroken" / "run", shared / "unbroken" / "made"
    run.parent.mkdir(exist_ok=True)
    with (shared / "unbroken" / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not made.exists():
            command = processes.start(fairnas, *tiny.arguments(run), log=run.with_suffix(".log"))
            assert command.wait() == 0, command.output
            made.touch()
    return run


@pytest.fixture
def signals() -> Iterator[None]:
    """Puts back what signals do, and forgets those that came."""
    before: dict[int, Any] = {number: signal.getsignal(number) for number in stopping.NUMBERS}
    yield
    stopping.forget(before)


@pytest.fixture(scope="session")
def processes() -> Iterator[Processes]:
    started = Processes()
    yield started
    started.close()
