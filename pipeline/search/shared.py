"""A search by several workers, which share a study in PostgreSQL.

Each generation is a list of tasks. Workers claim some, score them and record the scores; whoever finds a generation
finished opens the next one. What a worker does is one transaction, so it is done or it is not, and a worker that is
killed loses only what it was scoring: PostgreSQL frees its lock together with its connection, and tasks whose
claimant has no lock are free for others. A task whose scoring killed several workers is given up, so that the others go
on: its accuracy is NaN, and the search goes on as if it had never been asked for.
"""

from __future__ import annotations

import json
import math
import secrets
import time
import zlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from typing import NamedTuple

import sqlalchemy as sql
from optuna.exceptions import StorageInternalError
from sqlalchemy import URL, Engine
from sqlalchemy.dialects.postgresql import ARRAY
from sqlalchemy.exc import ArgumentError, OperationalError, SQLAlchemyError

from ..console import Bar, console
from ..errors import UserError
from .algorithms.interface import Genome
from .archive import Archive
from .optuna_study import Study
from .problem import Problem

_POLL_SECONDS = 0.2
# Of a task: it is claimed with others first and, when its worker was lost, alone, so that only what kills workers is
# lost with them. That a machine is taken away in the middle of the same task four times is no chance to reckon with.
_MOST_CLAIMS = 4
_LOCKS = 2**31  # PostgreSQL locks pairs of 32-bit numbers
_ARRIVALS = zlib.crc32(b"fairnas") % _LOCKS

_CATALOGUE = sql.MetaData()
_SEARCHES = sql.Table(
    "fairnas_searches",
    _CATALOGUE,
    sql.Column("study", sql.Text, primary_key=True),
    sql.Column("opened", sql.Integer, nullable=False),  # generations
    sql.Column("algorithm", sql.Text),  # its state after it was asked for the last of them
)
_TASKS = sql.Table(
    "fairnas_tasks",
    _CATALOGUE,
    sql.Column("study", sql.Text, primary_key=True),
    sql.Column("generation", sql.Integer, primary_key=True),
    sql.Column("position", sql.Integer, primary_key=True),
    sql.Column("genome", ARRAY(sql.Integer), nullable=False),
    sql.Column("worker", sql.Integer),  # who claimed it last
    sql.Column("claims", sql.Integer, nullable=False, server_default="0"),
    sql.Column("accuracy", sql.Double),
)

_LIVING = """
    SELECT FROM pg_locks
    WHERE locktype = 'advisory' AND classid = :lock
    AND database = (SELECT oid FROM pg_database WHERE datname = current_database())
"""

_CLAIM = sql.text(
    f"""
    UPDATE fairnas_tasks SET worker = :worker, claims = claims + 1
    WHERE study = :study AND generation = :generation AND position IN (
        SELECT position FROM fairnas_tasks AS task
        WHERE study = :study AND generation = :generation AND accuracy IS NULL
        AND claims BETWEEN :fewest AND :highest AND NOT EXISTS ({_LIVING} AND objid = task.worker)
        ORDER BY position LIMIT :most
    )
    RETURNING position, genome
    """
)

_GIVE_UP = sql.text(
    f"""
    UPDATE fairnas_tasks AS task SET accuracy = 'NaN'
    WHERE study = :study AND generation = :generation AND accuracy IS NULL AND claims >= :claims
    AND NOT EXISTS ({_LIVING} AND objid = task.worker)
    RETURNING genome
    """
)

_RETURN = sql.text(
    """
    UPDATE fairnas_tasks SET claims = claims - 1, worker = NULL
    WHERE study = :study AND worker = :worker AND accuracy IS NULL
    """
)

_RECORD = sql.text(
    """
    UPDATE fairnas_tasks AS task SET accuracy = found.accuracy
    FROM unnest(CAST(:positions AS int[]), CAST(:accuracies AS float8[])) AS found (position, accuracy)
    WHERE task.study = :study AND task.generation = :generation AND task.position = found.position
    AND task.worker = :worker AND task.accuracy IS NULL
    RETURNING task.position
    """
)


class _Task(NamedTuple):
    position: int
    genome: Genome


def search_together(problem: Problem, storage: str, study: str, bar: Bar, start_again: bool = False) -> Archive:
    """Take part in a search until it is finished; every worker ends with the same archive, that of a single one.

    Args:
        problem: what to search: the same for all workers.
        storage: URL of the database, `postgresql://USER@HOST/DATABASE`.
        study: name that only workers of the same search use.
        bar: over all architectures.
        start_again: forget what the database has of the study, unless others are at work on it.

    Raises:
        UserError: the database is not one, cannot be reached, or the connection was lost.
    """
    url = database_url(storage)
    with _answering(url):
        worker = _Worker(problem, url, study, start_again)
        try:
            for generation in range(problem.settings.generations):
                worker.open(generation)
                worker.score(generation, bar)
            return worker.archive()
        except KeyboardInterrupt:
            worker.return_tasks()  # which this worker did not die of
            raise
        finally:
            worker.leave()


class _Worker:
    """One of the processes that share a study."""

    def __init__(self, problem: Problem, url: URL, study: str, start_again: bool) -> None:
        self._problem, self._name = problem, study
        self._lock = zlib.crc32(study.encode()) % _LOCKS
        self._engine = _connect(url)
        # A single connection: if it is lost, so is the lock that says that this worker lives.
        self._connection = self._engine.connect()
        with self._connection.begin():
            # One after the other: makers of the same tables are in each other's way.
            self._connection.execute(sql.text("SELECT pg_advisory_xact_lock(:arrivals)"), {"arrivals": _ARRIVALS})
            _CATALOGUE.create_all(self._engine)
            self._study = Study(self._engine, study, problem.archive(), problem.space)
            if start_again:
                self._start_again()
            join = sql.text("INSERT INTO fairnas_searches VALUES (:study, 0, NULL) ON CONFLICT DO NOTHING")
            self._connection.execute(join, {"study": study})
            self._id = self._sign_in()

    def open(self, generation: int) -> None:
        """Make a generation's tasks, unless somebody did."""
        with self._connection.begin():
            self._hold_search()
            found = self._connection.execute(sql.select(_SEARCHES).where(_SEARCHES.c.study == self._name)).one()
            if found.opened > generation:
                return
            algorithm = self._problem.algorithm()
            if generation:
                algorithm.load_state(json.loads(found.algorithm))
                archive = self._archive_of(_TASKS.c.generation == generation - 1)
                genomes = [member.genome for member in archive.members]
                algorithm.tell(genomes, archive.minimised(), archive.violations())
            key = {"study": self._name, "generation": generation}
            tasks = [key | {"position": n, "genome": list(genome)} for n, genome in enumerate(algorithm.ask())]
            if tasks:
                self._connection.execute(sql.insert(_TASKS), tasks)
            self._connection.execute(
                sql.update(_SEARCHES).where(_SEARCHES.c.study == self._name),
                {"opened": generation + 1, "algorithm": json.dumps(algorithm.state())},
            )

    def score(self, generation: int, bar: Bar) -> None:
        """Score tasks until the generation has none left, waiting for what others score."""
        while True:
            left, scored = self._progress(generation)
            bar.show(scored, self._problem.settings.generations * self._problem.settings.population)
            if not left:
                return
            if tasks := self._claim(generation, most=min(self._problem.at_once, (left + 1) // 2)):
                accuracies = self._problem.score(
                    [task.genome for task in tasks],
                    lambda accuracy: bar.advance(f"generation {generation + 1}, top-1 {accuracy:.1%}"),
                )
                self._record(generation, tasks, accuracies)
            else:
                time.sleep(_POLL_SECONDS)

    def archive(self) -> Archive:
        """All that was scored, in the order in which it was asked for."""
        with self._connection.begin():
            return self._archive_of(sql.true())

    def return_tasks(self) -> None:
        """Let others have what this worker claimed, as if it never had."""
        with suppress(SQLAlchemyError), self._connection.begin():
            self._hold_search()
            self._connection.execute(_RETURN, {"study": self._name, "worker": self._id})

    def leave(self) -> None:
        """Let go of the database."""
        self._connection.close()

    def _claim(self, generation: int, most: int) -> list[_Task]:
        """Take tasks that nobody alive is scoring: not all, so that workers come to the end together.

        Those that nobody has claimed come first, and then one whose worker was lost, alone.
        """
        key = {"study": self._name, "generation": generation, "lock": self._lock}
        ours, again = key | {"worker": self._id}, {"fewest": 1, "highest": _MOST_CLAIMS - 1, "most": 1}
        with self._connection.begin():
            self._hold_search()
            given_up = list(self._connection.execute(_GIVE_UP, key | {"claims": _MOST_CLAIMS}).scalars())
            rows = list(self._connection.execute(_CLAIM, ours | {"fewest": 0, "highest": 0, "most": most}))
            rows = rows or list(self._connection.execute(_CLAIM, ours | again))
        for genome in given_up:
            console.print(
                f"[yellow]given up: {self._problem.space.architecture(tuple(genome))}, whose scoring was begun "
                f"{_MOST_CLAIMS} times by workers that were lost[/]",
                soft_wrap=True,
            )
        return sorted(_Task(position, tuple(genome)) for position, genome in rows)

    def _record(self, generation: int, tasks: Sequence[_Task], accuracies: Sequence[float]) -> None:
        """Keep scores, and show them in the study: of each task once, whoever else has scored it."""
        key = {"study": self._name, "generation": generation, "worker": self._id}
        found = {"positions": [task.position for task in tasks], "accuracies": list(accuracies)}
        with self._connection.begin():
            self._hold_search()
            recorded = set(self._connection.execute(_RECORD, key | found).scalars())
            members = [
                self._problem.scored(task.genome, generation, accuracy)
                for task, accuracy in zip(tasks, accuracies, strict=True)
                if task.position in recorded
            ]
            self._study.add(self._connection, members, worker=self._id)

    def _progress(self, generation: int) -> tuple[int, int]:
        """How many tasks of a generation have no score yet, and how many of all have one."""
        left = sql.func.count().filter(_TASKS.c.generation == generation, _TASKS.c.accuracy.is_(None))
        query = sql.select(left, sql.func.count(_TASKS.c.accuracy)).where(_TASKS.c.study == self._name)
        with self._connection.begin():
            left_now, scored = self._connection.execute(query).one()
            return left_now, scored

    def _hold_search(self) -> None:
        """Let no other worker claim, record or open until the transaction ends."""
        query = sql.select(_SEARCHES.c.study).where(_SEARCHES.c.study == self._name)
        self._connection.execute(query.with_for_update())

    def _archive_of(self, which: sql.ColumnElement[bool]) -> Archive:
        query = sql.select(_TASKS.c.genome, _TASKS.c.generation, _TASKS.c.accuracy)
        query = query.where(_TASKS.c.study == self._name, which).order_by(_TASKS.c.generation, _TASKS.c.position)
        archive = self._problem.archive()
        archive.members = [
            self._problem.scored(tuple(genome), generation, accuracy)
            for genome, generation, accuracy in self._connection.execute(query)
            if not math.isnan(accuracy)
        ]
        return archive

    def _start_again(self) -> None:
        """Forget the study, unless somebody is at work on it: also who has just started it again."""
        if self._connection.scalar(sql.text(f"SELECT EXISTS ({_LIVING})"), {"lock": self._lock}):
            console.print("others are at work on this search: it goes on, and is not started again")
            return
        for table in (_TASKS, _SEARCHES):
            self._connection.execute(sql.delete(table).where(table.c.study == self._name))
        self._study.clear(self._connection)

    def _sign_in(self) -> int:
        """Take a number that no living worker has, and its lock, which the connection keeps."""
        attempt = sql.text("SELECT pg_try_advisory_lock(:lock, :worker)")
        while True:
            worker = 1 + secrets.randbelow(_LOCKS - 1)
            if self._connection.scalar(attempt, {"lock": self._lock, "worker": worker}):
                return worker


def database_url(storage: str) -> URL:
    """The database that `search.storage` names.

    Raises:
        UserError: it names none, or none that workers can share.
    """
    try:
        url = sql.make_url(storage)
    except (ArgumentError, ValueError):  # a port that is no number is a ValueError
        raise UserError("--storage is not the URL of a database: write postgresql://USER@HOST/DATABASE") from None
    if url.get_backend_name() != "postgresql":
        raise UserError(
            f"--storage names a {url.get_backend_name()} database: workers share a study in PostgreSQL, "
            "postgresql://USER@HOST/DATABASE; a single worker needs none"
        )
    return url.set(drivername="postgresql+psycopg")


def _connect(url: URL) -> Engine:
    try:
        # A machine that went away without a word is noticed within a minute, and its tasks are free.
        alive = "-c tcp_keepalives_idle=30 -c tcp_keepalives_interval=10 -c tcp_keepalives_count=3"
        return sql.create_engine(url, poolclass=sql.NullPool, connect_args={"options": alive, "connect_timeout": 10})
    except ModuleNotFoundError:
        raise UserError("--storage needs a package that is not installed: pip install 'fairnas[postgres]'") from None


@contextmanager
def _answering(url: URL) -> Iterator[None]:
    """Say in one line what the database does not do; never with its password."""
    try:
        yield
    except (OperationalError, StorageInternalError) as error:
        reason = " ".join(str(error.__cause__ or error).split())
        raise UserError(f"the study's database {_without_secrets(url)} does not answer: {reason}") from None
    except SQLAlchemyError as error:
        reason = " ".join(str(error.__cause__ or error).split())
        raise UserError(f"the study's database {_without_secrets(url)} refused: {reason}") from None


def _without_secrets(url: URL) -> str:
    """Where a database is: a password may also stand in the query."""
    return url.set(query={}).render_as_string()
