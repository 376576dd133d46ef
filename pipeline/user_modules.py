"""Networks of users' own modules, made once in a process of their own: such code may end the process that runs it."""

from __future__ import annotations

import faulthandler
import os
import select
import signal
import sys
from contextlib import suppress

import torch

from ..models import AnyNetwork, UserModel, build_any_network
from .errors import UserError

_LIMIT_S = 600.0  # enough to download weights


def check_survivable(source: AnyNetwork, limit_s: float = _LIMIT_S) -> None:
    """Refuse a user's network whose making ends the process, with `os._exit`, `os.abort` or a crash, or never ends.

    What it raises instead is left to who makes it in earnest. Nothing is done for networks that are not a user's.

    Raises:
        UserError: it is such a one.
    """
    if not isinstance(source, UserModel):
        return
    reading, writing = os.pipe()
    sys.stdout.flush()
    child = os.fork()
    if child == 0:
        _make(source, writing)
    os.close(writing)
    with os.fdopen(reading, "rb") as answer:
        if not select.select([answer], [], [], limit_s)[0]:
            os.kill(child, signal.SIGKILL)
            os.waitpid(child, 0)
            raise UserError(f"{source} was not made in {limit_s / 60:g} minutes")
        survived = answer.read() != b""
    code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    if not survived:
        how = f"exit code {code}" if code >= 0 else signal.Signals(-code).name
        raise UserError(f"{source} ends the whole process ({how}) when it is imported or called: it makes no network")


def _make(source: UserModel, writing: int) -> None:
    """In the child: make the network, say that one lived to tell, and end."""
    nowhere = os.open(os.devnull, os.O_RDWR)
    for stream in (1, 2):  # it says all once more when it is made in earnest
        os.dup2(nowhere, stream)
    sys.stdout = sys.stderr = os.fdopen(nowhere, "w")
    with suppress(BaseException):
        faulthandler.disable()
        torch.set_num_threads(1)  # the parent's other threads are not here
        build_any_network(source)
    os.write(writing, b"survived")
    os._exit(0)
