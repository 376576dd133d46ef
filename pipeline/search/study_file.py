"""The study of a search by one process: an SQLite file for people to watch, which the search itself never reads."""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import sqlalchemy as sql
from optuna.exceptions import StorageInternalError
from sqlalchemy.exc import SQLAlchemyError

from ...common.text import plain, shown
from ..console import console
from ..errors import UserError
from .archive import Archive
from .optuna_study import PATIENCE_SECONDS, Study
from .problem import Problem

_REFRESH_SECONDS = 1.0  # between updates
# What SQLite may have left beside the file: it would undo the beginning of a new file with it.
_COMPANIONS = ("-journal", "-wal", "-shm")
_DAMAGED = {
    sqlite3.SQLITE_CORRUPT,
    sqlite3.SQLITE_NOTADB,
    sqlite3.SQLITE_ERROR,
    sqlite3.SQLITE_CONSTRAINT,
    sqlite3.SQLITE_IOERR,
}
_LOCKED = {sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED}


class StudyFile:
    """The study in an SQLite file that follows the archive.

    A file that an interrupted search left is made anew, in 0.2 ms a trial, since nothing says whether it is sound; so
    is one that was damaged meanwhile.
    """

    def __init__(self, path: Path, archive: Archive, problem: Problem) -> None:
        self._path, self._archive, self._problem = path, archive, problem
        self._engine = sql.create_engine(_url_of(path), connect_args={"timeout": PATIENCE_SECONDS})
        self._study: Study | None = None
        self._next = 0.0

    def update(self, at_once: bool = False) -> None:
        """Add the members that the study does not have yet; now and then is enough for people.

        Raises:
            UserError: the file cannot be written: the line says whether the disk is full or who holds it.
        """
        if not at_once and time.monotonic() < self._next:
            return
        try:
            self._write()
        except (StorageInternalError, SQLAlchemyError) as error:
            if self._study is None or _code(error) not in _DAMAGED:
                raise UserError(self._why(error)) from None
            console.print(f"[yellow]{shown(self._path)} was damaged: it is made anew[/]", soft_wrap=True)
            self._study = None
            with self._answering():
                self._write()
        self._next = time.monotonic() + _REFRESH_SECONDS

    def close(self) -> None:
        """Bring it up to date, and let go of the file."""
        self.update(at_once=True)
        self._engine.dispose()

    def _write(self) -> None:
        if self._study is None:
            self._remove()
            self._study = Study(self._engine, "search", self._archive, self._problem.space)
        with self._engine.begin() as connection:
            self._study.add(connection, self._archive.members[self._study.count(connection) :])

    def _remove(self) -> None:
        self._engine.dispose()
        for suffix in ("", *_COMPANIONS):
            self._path.with_name(self._path.name + suffix).unlink(missing_ok=True)

    @contextmanager
    def _answering(self) -> Iterator[None]:
        try:
            yield
        except (StorageInternalError, SQLAlchemyError) as error:
            raise UserError(self._why(error)) from None

    def _why(self, error: BaseException) -> str:
        path, code = plain(str(self._path)), _code(error)
        if code == sqlite3.SQLITE_FULL:
            return f"cannot write {path}: the disk is full; free some space and run the same command again"
        if code in _LOCKED:
            return (
                f"cannot write {path}: another program has held it for {PATIENCE_SECONDS} seconds; close it and run "
                "the same command again"
            )
        reason = plain(" ".join(str(_cause(error) or error).split()))
        return f"cannot write {path}: {reason}; run the same command again once that is mended"


def _url_of(path: Path) -> sql.URL:
    """Of an SQLite file whatever its path holds: `?`, `%` and `#` mean something in the text of a URL."""
    return sql.URL.create("sqlite", database=str(path))


def _cause(error: BaseException | None) -> sqlite3.Error | None:
    """What SQLite said, below what others made of it."""
    while error is not None:
        below = getattr(error, "orig", None) or error.__cause__ or error.__context__
        if isinstance(error, sqlite3.Error):
            return error
        error = below
    return None


def _code(error: BaseException) -> int | None:
    """SQLite's primary error code."""
    found = getattr(_cause(error), "sqlite_errorcode", None)
    return None if found is None else found & 0xFF
