"""Ctrl-C before anything was begun: while modules are imported, where an exception would come out as anything."""

from __future__ import annotations

import os
import signal
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

INTERRUPTED = 130  # what shells report for Ctrl-C


def is_command() -> bool:
    """Whether this process is the `fairnas` command, rather than one that imports it."""
    return Path(sys.argv[0]).name == "fairnas" or "fairnas.pipeline.cli" in sys.orig_argv


def leave_on_interrupt() -> None:
    """From now on Ctrl-C ends the process at once, with one line."""
    ignored = signal.getsignal(signal.SIGINT) is signal.SIG_IGN  # as in a script's background job: it stays so
    if threading.current_thread() is threading.main_thread() and not ignored:
        signal.signal(signal.SIGINT, _leave)


def raise_on_interrupt() -> None:
    """From now on Ctrl-C raises `KeyboardInterrupt`, as everywhere: there is something to save."""
    if threading.current_thread() is threading.main_thread() and signal.getsignal(signal.SIGINT) is _leave:
        signal.signal(signal.SIGINT, signal.default_int_handler)


@contextmanager
def nothing_begun() -> Iterator[None]:
    """Around imports and checks of the command; nothing in a process that merely calls it."""
    before = signal.getsignal(signal.SIGINT)
    if is_command():
        leave_on_interrupt()
    try:
        yield
    finally:
        if signal.getsignal(signal.SIGINT) is _leave:
            signal.signal(signal.SIGINT, before)


def _leave(*_: object) -> None:
    os.write(2, b"stopped: nothing was begun\n")
    os._exit(INTERRUPTED)
