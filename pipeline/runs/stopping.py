"""Being asked to stop: Ctrl-C, SIGTERM of a scheduler or container, SIGHUP of a closed terminal.

Training stops between two steps, with a checkpoint; all else stops at once. Whatever a library makes of the exception
on its way up, the request is remembered. Asked again, the process ends where it is, which loses no more than a kill.
"""

from __future__ import annotations

import os
import signal
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from types import FrameType
from typing import Any

NUMBERS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
_SAME_REQUEST_SECONDS = 0.5  # a terminal and the shell or `make` below it both pass one key press on

_wanted: signal.Signals | None = None
_since = 0.0
_waiting_for_a_step = False


class Stopped(KeyboardInterrupt):
    """A signal asked to stop."""


def is_wanted() -> bool:
    """Whether somebody asked to stop."""
    return _wanted is not None


def stop_if_wanted() -> None:
    """Stop, if somebody asked to and it was not heard.

    Raises:
        Stopped: somebody did.
    """
    if _wanted is not None:
        raise Stopped


def exit_code() -> int | None:
    """What shells report of a process that the signal ended, or None where nobody asked to stop."""
    return None if _wanted is None else 128 + _wanted


def message() -> str:
    """The one line about it."""
    by = "" if _wanted in (None, signal.SIGINT) else f" by {_wanted.name}"
    return f"stopped{by}: run the same command again to go on from the last checkpoint"


@contextmanager
def listening() -> Iterator[None]:
    """Answer the signals, but for those that are ignored already (nohup, a background job).

    Once asked to stop, a process stays so: the handlers are put back only where nobody did.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    process = os.getpid()

    def handler(number: int, frame: FrameType | None) -> None:
        if os.getpid() != process:  # a worker process, which the parent tells when to end
            signal.signal(number, signal.SIG_DFL)
            os.kill(os.getpid(), number)
            return
        _answer(signal.Signals(number))

    before: dict[int, Any] = {}
    for number in NUMBERS:
        found = signal.getsignal(number)
        if found not in (signal.SIG_IGN, None):
            before[number] = signal.signal(number, handler)
    try:
        yield
    finally:
        if _wanted is None:
            forget(before)


def forget(handlers: dict[int, Any]) -> None:
    """As if nobody had asked, and with these handlers."""
    global _wanted
    _wanted = None
    for number, handler in handlers.items():
        signal.signal(number, handler)


@contextmanager
def between_steps() -> Iterator[None]:
    """Around training, which asks `is_wanted` after each step and saves before it stops."""
    global _waiting_for_a_step
    _waiting_for_a_step = True
    try:
        yield
    finally:
        _waiting_for_a_step = False


def _answer(number: signal.Signals) -> None:
    global _wanted, _since
    now = time.monotonic()
    if _wanted is not None:
        if now - _since >= _SAME_REQUEST_SECONDS:
            _say(message())
            os._exit(128 + _wanted)
        return
    _wanted, _since = number, now
    if not _waiting_for_a_step:
        raise Stopped
    _say("stopping after this step, with a checkpoint; ask again to stop at once")


def _say(text: str) -> None:
    """Past any buffer or console, which the interrupted code may be in the middle of using."""
    with suppress(OSError):  # the terminal is gone
        os.write(sys.__stderr__.fileno() if sys.__stderr__ else 2, f"\n{text}\n".encode())
