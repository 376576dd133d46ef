"""Workers that share a study in PostgreSQL: all end with what one alone finds, also when some are killed."""

from __future__ import annotations

import math
import signal
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import optuna
import pytest
import sqlalchemy as sql
from fairnas.models import Architecture
from fairnas.pipeline.errors import UserError

from .. import tiny
from ..processes import Process, Processes, fairnas, share_search
from . import postgres
from .problems import Curve, Killed, killed_after, problem, results, run

GENERATIONS = 4


@pytest.fixture(scope="module")
def storage(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with postgres.server(tmp_path_factory.mktemp("postgres")) as url:
        yield url


def scored(folder: Path) -> list[str]:
    path = folder.with_suffix(".scored")
    return path.read_text().splitlines() if path.exists() else []


def tasks(storage: str, study: str) -> list[Any]:
    engine = sql.create_engine(storage)
    query = sql.text("SELECT generation, claims, accuracy FROM fairnas_tasks WHERE study = :study")
    with engine.connect() as connection:
        return list(connection.execute(query, {"study": study}))


def test_a_worker_killed_in_the_middle_takes_nothing_with_it(
    storage: str, processes: Processes, tmp_path: Path
) -> None:
    alone = results(run(problem(algorithm="nsga2-reinforced"), tmp_path / "alone"))
    first, second = tmp_path / "first", tmp_path / "second"
    survivor, victim = (
        processes.start(share_search, storage, folder, seconds, "nsga2-reinforced", log=folder.with_suffix(".log"))
        for folder, seconds in ((first, "0.3"), (second, "1.5"))
    )
    while not scored(second):  # it has finished one, and is scoring the others that it claimed with it
        assert survivor.wait(0.01) is None, survivor.output
        assert victim.wait(0.01) is None, victim.output
    victim.send(signal.SIGKILL)
    assert survivor.wait() == 0, survivor.output
    assert results(first) == alone

    found = tasks(storage, "test-nsga2-reinforced")
    assert Counter(task.generation for task in found) == dict.fromkeys(range(GENERATIONS), 10)
    assert all(task.accuracy is not None for task in found)
    # What the victim had claimed and not recorded was taken over, a chunk of 4 at most; all else was scored once.
    assert {task.claims for task in found} == {1, 2}
    assert sum(task.claims - 1 for task in found) <= 4
    kept = Counter(scored(first)) + Counter(scored(second))
    assert sum(kept.values()) - len(kept) <= 4

    study = optuna.load_study(study_name="test-nsga2-reinforced", storage=storage)
    assert [trial.number for trial in study.trials] == list(range(40))
    assert {trial.state.name for trial in study.trials} == {"COMPLETE"}
    assert len({trial.user_attrs["architecture"] for trial in study.trials}) == 40


def test_two_workers_share_the_scoring_and_a_late_one_finds_it_done(
    storage: str, processes: Processes, tmp_path: Path
) -> None:
    folders = [tmp_path / name for name in ("first", "second")]
    workers = [
        processes.start(share_search, storage, folder, "0.1", "nsga2", log=folder.with_suffix(".log"))
        for folder in folders
    ]
    for process in workers:
        assert process.wait() == 0, process.output
    assert all(scored(folder) for folder in folders)
    both = [genome for folder in folders for genome in scored(folder)]
    assert len(both) == len(set(both)) == 40
    assert {task.claims for task in tasks(storage, "test-nsga2")} == {1}
    alone = results(run(problem(), tmp_path / "alone"))
    late = Curve()
    run(problem(late, storage=storage), tmp_path / "late", study="test-nsga2")
    assert late.scored == []
    assert [results(tmp_path / name) for name in ("first", "second", "late")] == [alone] * 3


def test_a_finished_study_is_started_again(storage: str, tmp_path: Path) -> None:
    first, again = Curve(), Curve()
    found = [
        results(run(problem(curve, storage=storage), tmp_path / name, start_again, study="test-again"))
        for curve, name, start_again in ((first, "first", False), (again, "again", True))
    ]
    assert again.scored == first.scored
    assert found[0] == found[1]
    assert len(optuna.load_study(study_name="test-again", storage=storage).trials) == len(again.scored) == 40


def test_a_study_that_others_are_at_work_on_is_not_started_again(
    storage: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    joined = Curve(before=killed_after(1))

    def join(_: Architecture) -> None:
        if not joined.scored:
            with pytest.raises(Killed):
                run(problem(joined, storage=storage), tmp_path / "joined", start_again=True, study="test-joined")

    alone = Curve(before=join)
    run(problem(alone, storage=storage), tmp_path / "alone", study="test-joined")
    assert "others are at work on this search" in capsys.readouterr().err
    assert len(set(alone.scored)) == 40


@pytest.mark.parametrize(
    ("url", "message"),
    [
        ("postgresql://me:{secret}@127.0.0.1:1/db", "does not answer: .*[Cc]onnection refused"),
        ("mysql://me:{secret}@127.0.0.1/db", "--storage names a mysql database: workers share a study in PostgreSQL"),
        ("sqlite:///study.db", "a single worker needs none"),
        ("{secret}", "--storage is not the URL of a database: write postgresql://USER@HOST/DATABASE"),
    ],
)
def test_a_database_that_cannot_be_used_is_refused_without_its_password(url: str, message: str, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=message) as refusal:
        run(problem(storage=url.format(secret="hunter2")), tmp_path)
    assert "hunter2" not in str(refusal.value)
    assert "\n" not in str(refusal.value)


def test_a_wrong_password_is_one_line(storage: str, tmp_path: Path) -> None:
    with pytest.raises(UserError, match='password authentication failed for user "searcher"') as refusal:
        run(problem(storage=storage.replace(postgres.PASSWORD, "wrong")), tmp_path)
    assert "wrong" not in str(refusal.value)


@pytest.mark.slow
def test_the_command_on_copies_of_a_run_folder(
    storage: str, unbroken: Path, processes: Processes, tmp_path: Path
) -> None:
    """The same command twice, each with a copy of the run folder; the password is in none of their files."""
    runs = [tmp_path / "first", tmp_path / "second"]
    started: list[Process] = []
    for folder in runs:
        tiny.rewind(unbroken, folder, "search")
        command = ["search", *tiny.arguments(folder)[1:], "--storage", storage]
        started.append(processes.start(fairnas, *command, log=folder / "log"))
    for process, folder in zip(started, runs, strict=True):
        assert process.wait() == 0, process.output
        assert results(folder / "search") == results(unbroken / "search")
        texts = [path.read_bytes() for path in folder.rglob("*") if path.is_file()]
        assert not any(postgres.PASSWORD.encode() in text for text in texts)


def test_a_task_that_kills_its_workers_is_given_up_alone(
    storage: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Its chunk mates are scored; a worker that comes later finds the same, though it never saw a death."""
    alone = Curve()
    run(problem(alone), tmp_path / "alone")
    poison, died = alone.scored[5], 0  # of the first generation

    def die_of_it(architecture: Architecture) -> None:
        if architecture.choices == poison:
            raise Killed

    while True:
        curve = Curve(die_of_it)
        try:
            run(problem(curve, storage=storage), tmp_path / f"worker-{died}", study="test-poison")
            break
        except Killed:
            died += 1
            assert died <= 4
    assert died == 4
    told = " ".join(capsys.readouterr().err.split())
    assert told.count("given up: ") == 1
    assert "begun 4 times by workers that were lost" in told
    found = tasks(storage, "test-poison")
    assert len(found) == 40
    assert sum(math.isnan(task.accuracy) for task in found) == 1
    assert max(task.claims for task in found if not math.isnan(task.accuracy)) == 2  # those claimed together with it
    late = Curve(die_of_it)
    run(problem(late, storage=storage), tmp_path / "late", study="test-poison")
    assert late.scored == []
    assert results(tmp_path / "late") == results(tmp_path / f"worker-{died}")
    assert len((tmp_path / "late" / "pareto.csv").read_text().splitlines()) == 1 + 39


def test_a_worker_that_is_interrupted_gives_its_tasks_back(storage: str, tmp_path: Path) -> None:
    def interrupt(_: Architecture) -> None:
        raise KeyboardInterrupt

    for _ in range(6):
        with pytest.raises(KeyboardInterrupt):
            run(problem(Curve(interrupt), storage=storage), tmp_path / "first", study="test-returned")
    assert {task.claims for task in tasks(storage, "test-returned")} == {0}
    run(problem(storage=storage), tmp_path / "again", study="test-returned")
    assert results(tmp_path / "again") == results(run(problem(), tmp_path / "alone"))
