"""A search by one process, in files of its run folder."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import sqlalchemy as sql
from optuna.exceptions import StorageInternalError
from sqlalchemy.exc import SQLAlchemyError

from ...common.files import write_atomic
from ..console import Bar
from ..errors import UserError
from .algorithms.interface import Algorithm
from .archive import Archive
from .journal import Score, ScoreJournal
from .problem import Problem
from .study import PATIENCE_SECONDS, Study

_STATE, _SCORES, _STUDY = "state.json", "scores.jsonl", "study.db"
_REFRESH_SECONDS = 1.0  # between updates of the study


def search_locally(problem: Problem, folder: Path, bar: Bar) -> Archive:
    """Search, or go on with a search that was cut off: of its scores only those under way then are lost.

    Scores are appended to `scores.jsonl` as they come, `state.json` holds the algorithm's state after its last whole
    generation, and `study.db` is for people to watch. Each generation takes the same time to put away, however many
    went before.

    Args:
        problem: what to search.
        folder: where.
        bar: over all architectures.

    Raises:
        UserError: a file there is damaged or cannot be written.
    """
    algorithm, archive = problem.algorithm(), problem.archive()
    journal = ScoreJournal(folder / _SCORES)
    done, told = _load_state(folder / _STATE, algorithm, journal)
    archive.members = [problem.scored(*score) for score in journal.scores[:told]]
    bar.advance(by=told)
    watched = _StudyFile(folder / _STUDY, archive, problem)
    for generation in range(done, problem.settings.generations):
        genomes, started = algorithm.ask(), len(archive.members)
        known = journal.scores[started:]
        if [score.genome for score in known] != genomes[: len(known)]:
            journal.keep(started)  # from another machine, whose arithmetic differs in its last bits
            known = []
        archive.members += [problem.scored(*score) for score in known]
        watched.update()
        bar.advance(by=len(known))

        def advance(accuracy: float, generation: int = generation) -> None:
            bar.advance(f"generation {generation + 1}, top-1 {accuracy:.1%}")

        for first in range(len(known), len(genomes), problem.at_once):
            part = genomes[first : first + problem.at_once]
            accuracies = problem.score(part, advance)
            scores = [Score(genome, generation, accuracy) for genome, accuracy in zip(part, accuracies, strict=True)]
            journal.append(scores)
            archive.members += [problem.scored(*score) for score in scores]
            watched.update()
        members = archive.members[started:]
        algorithm.tell(genomes, archive.minimised(members), archive.violations(members))
        journal.sync()
        _save_state(folder / _STATE, generation + 1, len(archive.members), algorithm)
    watched.close()
    return archive


def _save_state(path: Path, generations: int, told: int, algorithm: Algorithm) -> None:
    write_atomic(path, json.dumps({"generations": generations, "told": told, "algorithm": algorithm.state()}))


def _load_state(path: Path, algorithm: Algorithm, journal: ScoreJournal) -> tuple[int, int]:
    """How many generations are done, and of how many scores the algorithm was told."""
    if not path.exists():
        return 0, 0
    try:
        state = json.loads(path.read_text())
        algorithm.load_state(state["algorithm"])
        done, told = int(state["generations"]), int(state["told"])
    except (ValueError, KeyError, TypeError):
        raise UserError(f"{path} is damaged: run the same command with --force search to start again") from None
    if told > len(journal.scores):
        raise UserError(
            f"{path.with_name(_SCORES)} lacks scores: run the same command with --force search to start again"
        )
    return done, told


class _StudyFile:
    """The study in an SQLite file that follows the archive."""

    def __init__(self, path: Path, archive: Archive, problem: Problem) -> None:
        self._path, self._archive, self._problem = path, archive, problem
        self._engine = sql.create_engine(_url_of(path), connect_args={"timeout": PATIENCE_SECONDS})
        self._study: Study | None = None
        self._next = 0.0

    def update(self, at_once: bool = False) -> None:
        """Add the members that the study does not have yet; now and then is enough for people."""
        if not at_once and time.monotonic() < self._next:
            return
        with self._writing():
            if self._study is None:
                self._study = self._open()
            with self._engine.begin() as connection:
                self._study.add(connection, self._archive.members[self._study.count(connection) :])
        self._next = time.monotonic() + _REFRESH_SECONDS

    def close(self) -> None:
        """Bring it up to date, and let go of the file."""
        self.update(at_once=True)
        self._engine.dispose()

    def _open(self) -> Study:
        """The study that is there, or a new one where it holds what the archive does not."""
        if self._archive.members and self._path.exists():
            study = Study(self._engine, "search", self._archive, self._problem.space)
            with self._engine.connect() as connection:
                if study.count(connection) <= len(self._archive.members):
                    return study
        self._engine.dispose()
        self._path.unlink(missing_ok=True)
        return Study(self._engine, "search", self._archive, self._problem.space)

    @contextmanager
    def _writing(self) -> Iterator[None]:
        try:
            yield
        except (StorageInternalError, SQLAlchemyError):
            raise UserError(f"cannot write {self._path}: is the disk full? Free some space and run again") from None


def _url_of(path: Path) -> sql.URL:
    """Of an SQLite file whatever its path holds: `?`, `%` and `#` mean something in the text of a URL."""
    return sql.URL.create("sqlite", database=str(path))
