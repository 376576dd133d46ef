"""A lock that one process at a time holds, and that goes when the process does."""

from __future__ import annotations

import fcntl
import os
import platform
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from .errors import FairnasError
from .text import plain


@contextmanager
def held(path: Path, what: str, remedy: str) -> Iterator[None]:
    """Hold a lock for as long as the context lasts; the file goes with it.

    Args:
        path: the file; a link in its place is refused.
        what: is locked, for the error.
        remedy: what to do when another process holds it.

    Raises:
        FairnasError: another process holds it, or the file cannot be made.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o666)
    except OSError as error:
        raise FairnasError(f"cannot write to {plain(str(path))}: {error.strerror}") from None
    try:
        if not _locked(descriptor, path):
            holder = plain(os.pread(descriptor, 200, 0).decode(errors="replace")) or "another process"
            raise FairnasError(f"{what} is in use by {holder}: {remedy}")
        os.truncate(descriptor, 0)
        os.pwrite(descriptor, f"process {os.getpid()} on {platform.node()}".encode(), 0)
        try:
            yield
        finally:
            path.unlink(missing_ok=True)
    finally:
        os.close(descriptor)


def _locked(descriptor: int, path: Path) -> bool:
    try:
        # Not flock: worker processes would inherit that, and hold it after this process was killed.
        fcntl.lockf(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        # Who held it may have removed the file in between, and a third process made another one.
        return os.path.samestat(os.fstat(descriptor), path.lstat())
    except (BlockingIOError, PermissionError, FileNotFoundError):
        return False
