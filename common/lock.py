"""A lock that one process at a time holds, and that goes when the process does."""

from __future__ import annotations

import errno
import fcntl
import os
import platform
import re
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from .errors import FairnasError
from .text import plain

_LONGEST = 300
_HOLDER = re.compile(r"process \d+ on .*")


def open_lock(path: Path) -> int:
    """Open a lock's file, made where there is none: never one behind a link, or shared with another folder.

    Raises:
        OSError: a link is in its place, or what was not made as a lock.
    """
    flags = os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
    descriptor = os.open(path, flags, 0o666)
    facts = os.fstat(descriptor)
    regular = stat.S_ISREG(facts.st_mode)
    if regular and is_holder(os.pread(descriptor, _LONGEST, 0)):
        if facts.st_nlink <= 1:
            return descriptor
        os.close(descriptor)
        path.unlink()  # a hard link, as copies of folders have them: what is written here would show in the other place
        return os.open(path, flags | os.O_EXCL, 0o666)
    os.close(descriptor)
    wrong = "was not made as a lock" if regular else "is not a regular file"
    raise OSError(errno.EEXIST, f"{plain(path.name)} {wrong}: move it elsewhere", str(path))


def is_holder(content: bytes) -> bool:
    """Whether a file holds what a lock's does: who holds it or held it last, or nothing."""
    return not content or _HOLDER.fullmatch(content.decode(errors="replace").strip()) is not None


def write_holder(descriptor: int) -> None:
    """Say in a lock's file that this process holds it."""
    os.ftruncate(descriptor, 0)
    os.pwrite(descriptor, f"process {os.getpid()} on {platform.node()}".encode(), 0)


@contextmanager
def held(path: Path, what: str, remedy: str) -> Iterator[None]:
    """Hold a lock for as long as the context lasts; the file goes with it.

    Args:
        path: the file; a link in its place is refused, and so is a file of somebody else's.
        what: is locked, for the error.
        remedy: what to do when another process holds it.

    Raises:
        FairnasError: another process holds it, or the file cannot be made.
    """
    was_there_empty = _is_empty(path)  # then nobody knows whose it is
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        descriptor = open_lock(path)
    except OSError as error:
        raise FairnasError(f"cannot write to {plain(str(path))}: {error.strerror}") from None
    try:
        if not _locked(descriptor, path):
            holder = plain(os.pread(descriptor, 200, 0).decode(errors="replace")) or "another process"
            raise FairnasError(f"{what} is in use by {holder}: {remedy}")
        write_holder(descriptor)
        try:
            yield
        finally:
            if was_there_empty:
                os.ftruncate(descriptor, 0)
            else:
                path.unlink(missing_ok=True)
    finally:
        os.close(descriptor)


def _is_empty(path: Path) -> bool:
    try:
        return path.lstat().st_size == 0
    except OSError:
        return False


def _locked(descriptor: int, path: Path) -> bool:
    try:
        # Not flock: worker processes would inherit that, and hold it after this process was killed.
        fcntl.lockf(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        # Who held it may have removed the file in between, and a third process made another one.
        return os.path.samestat(os.fstat(descriptor), path.lstat())
    except (BlockingIOError, PermissionError, FileNotFoundError):
        return False
