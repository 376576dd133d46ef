"""A run folder is held by one process at a time."""

from __future__ import annotations

import errno
import fcntl
import os
import stat
from pathlib import Path

from ...common.lock import open_lock, write_holder
from ...common.text import plain
from ..errors import UserError

LOCK = ".lock"
_BUSY = (errno.EAGAIN, errno.EACCES, errno.EWOULDBLOCK)
_held: set[int] = set()  # descriptors of folders that this process holds


def _let_go_in_child() -> None:
    """A worker process must not go on holding the folder when this process was killed."""
    for descriptor in _held:
        os.close(descriptor)
    _held.clear()


os.register_at_fork(after_in_child=_let_go_in_child)


class FolderLock:
    """Holds a folder until it is closed, or the process ends in whatever way.

    Two locks: one of the folder itself, which outlives that somebody removes the file `.lock`; and one of that file,
    where others read who holds it, and for file systems that cannot lock a folder.

    Raises:
        UserError: another process holds it, or it cannot be written.
    """

    def __init__(self, folder: Path) -> None:
        self._path, self._folder = folder, _open_folder(folder)
        _held.add(self._folder)
        self._file = -1
        try:
            self._lock_folder()
            self._lock_file()
        except BaseException:
            self.close()
            raise

    def close(self) -> None:
        """Let others in."""
        if self._file >= 0:
            os.close(self._file)
        if self._folder in _held:
            _held.remove(self._folder)
            os.close(self._folder)
        self._file = -1

    def check(self) -> None:
        """Make sure that the folder's path still leads to what is held.

        Raises:
            UserError: the folder was moved or removed, and what is written would land in another run's.
        """
        try:
            there = self._path.stat()
        except OSError:
            there = None
        if there is None or not os.path.samestat(there, os.fstat(self._folder)):
            raise UserError(f"run folder {plain(str(self._path))} was moved or removed: put it back, and run again")

    def _lock_folder(self) -> None:
        # Not fcntl's, which needs a file that is open for writing.
        try:
            fcntl.flock(self._folder, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            if error.errno in _BUSY:
                raise self._in_use() from None

    def _lock_file(self) -> None:
        try:
            self._file = open_lock(self._path / LOCK)
            # Not flock: worker processes would inherit that, and hold the folder after this process was killed.
            fcntl.lockf(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            busy = self._file >= 0 and error.errno in _BUSY
            raise (self._in_use() if busy else _unwritable(self._path, error)) from None
        try:
            write_holder(self._file)
        except OSError as error:
            raise _unwritable(self._path, error) from None

    def _in_use(self) -> UserError:
        holder = read_holder(self._path) or "another process"
        return UserError(
            f"run folder {plain(str(self._path))} is in use by {holder}: wait for it, or name another with --run"
        )


def read_holder(folder: Path) -> str:
    """What `.lock` says about who holds the folder, or held it last; empty where it says nothing."""
    try:
        descriptor = os.open(folder / LOCK, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError:
        return ""
    try:
        regular = stat.S_ISREG(os.fstat(descriptor).st_mode)
        return plain(os.read(descriptor, 200).decode(errors="replace").strip()) if regular else ""
    finally:
        os.close(descriptor)


def _open_folder(folder: Path) -> int:
    try:
        folder.mkdir(parents=True, exist_ok=True)
        return os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    except (OSError, ValueError) as error:
        raise _unwritable(folder, error) from None


def _unwritable(folder: Path, error: OSError | ValueError) -> UserError:
    if isinstance(error, OSError) and error.errno == errno.ELOOP:
        return UserError(f"{plain(str(folder / LOCK))} is a link: remove it")
    reason = error.strerror if isinstance(error, OSError) else str(error)
    return UserError(f"cannot write to run folder {plain(str(folder))}: {reason}")
