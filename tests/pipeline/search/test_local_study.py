"""A search in a run folder: cut off anywhere, it ends as an unbroken one, and scores nothing twice."""

from __future__ import annotations

import json
import os
import shutil
import sqlite3
from collections.abc import Callable
from contextlib import closing
from functools import cache
from pathlib import Path
from typing import Any

import optuna
import pytest
from fairnas.models import Architecture
from fairnas.pipeline.errors import UserError
from fairnas.pipeline.runs.checkpoint import Owner
from fairnas.pipeline.runs.run import Workspace
from fairnas.pipeline.search import study_file
from fairnas.pipeline.search.algorithms import ALGORITHMS
from fairnas.pipeline.search.optuna_study import Study
from fairnas.pipeline.search.search import check_constraints, search
from sqlalchemy.exc import OperationalError

from .problems import SPACE, Curve, Killed, killed_after, problem, results, run

FILES = ("state.json", "scores.jsonl")


CUTS = [*((algorithm, 17) for algorithm in ALGORITHMS), *(("nsga2", cut) for cut in (0, 3, 10, 39))]


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    """Folders of unbroken searches."""
    return cache(lambda algorithm: run(problem(algorithm=algorithm), tmp_path_factory.mktemp(algorithm)))


@pytest.mark.parametrize(("algorithm", "cut"), CUTS)
def test_a_search_cut_off_anywhere_ends_as_an_unbroken_one(
    algorithm: str, cut: int, whole: Callable[[str], Path], tmp_path: Path
) -> None:
    with pytest.raises(Killed):
        run(problem(Curve(killed_after(cut)), algorithm=algorithm), tmp_path)
    again = Curve()
    run(problem(again, algorithm=algorithm), tmp_path)
    for name in FILES:
        assert (tmp_path / name).read_bytes() == (whole(algorithm) / name).read_bytes()
    assert results(tmp_path) == results(whole(algorithm))
    # Only the chunk of 4 that was under way is scored again; a generation's last chunk has 2.
    assert len(again.scored) == 40 - (cut // 10 * 10 + cut % 10 // 4 * 4)


def test_a_search_cut_off_again_and_again_loses_a_chunk_at_most_each_time(
    whole: Callable[[str], Path], tmp_path: Path
) -> None:
    starts = 0
    while True:
        starts += 1
        try:
            run(problem(Curve(killed_after(7))), tmp_path / "run")
            break
        except Killed:
            continue
    assert starts <= 40 // (7 - 3) + 1
    assert results(tmp_path / "run") == results(whole("nsga2"))


def test_a_last_line_that_was_cut_off_is_scored_again(whole: Callable[[str], Path], tmp_path: Path) -> None:
    with pytest.raises(Killed):
        run(problem(Curve(killed_after(16))), tmp_path / "run")
    scores = tmp_path / "run" / "scores.jsonl"
    scores.write_bytes(scores.read_bytes()[:-5])
    again = Curve()
    run(problem(again), tmp_path / "run")
    assert len(again.scored) == 40 - 13
    assert results(tmp_path / "run") == results(whole("nsga2"))
    assert json.loads(scores.read_text().splitlines()[13])[0] == list(again.scored[0])


def test_scores_that_the_algorithm_would_not_ask_for_make_way(whole: Callable[[str], Path], tmp_path: Path) -> None:
    """Another machine's arithmetic may breed other genomes in the generation that was cut off."""
    with pytest.raises(Killed):
        run(problem(Curve(killed_after(15))), tmp_path / "run")
    scores = tmp_path / "run" / "scores.jsonl"
    lines = [json.loads(line) for line in scores.read_text().splitlines()]
    lines[10][0] = [5] * 19
    scores.write_text("".join(json.dumps(line) + "\n" for line in lines))
    run(problem(), tmp_path / "run")
    assert results(tmp_path / "run") == results(whole("nsga2"))


def line(number: int, change: Callable[[list[Any]], Any]) -> Callable[[bytes], bytes]:
    """Change one line of scores, as someone would who knows the format but not the digests."""

    def damage(content: bytes) -> bytes:
        lines = content.splitlines(keepends=True)
        row = json.loads(lines[number])
        lines[number] = (json.dumps(change(row) or row) + "\n").encode()
        return b"".join(lines)

    return damage


def value(change: Callable[[dict[str, Any]], Any]) -> Callable[[bytes], bytes]:
    def damage(content: bytes) -> bytes:
        state = json.loads(content)
        change(state)
        return json.dumps(state).encode()

    return damage


# File, what happens to it, how many of the 25 scores are believed then, and what people are told of the reason.
DAMAGES: dict[str, tuple[str, Callable[[bytes], bytes], int, str]] = {
    "accuracy": ("scores.jsonl", line(3, lambda row: row.__setitem__(2, 0.5)), 3, "was changed from line 4 on"),
    "later accuracy": ("scores.jsonl", line(22, lambda row: row.__setitem__(2, 0.5)), 22, "from line 23 on"),
    "nan": ("scores.jsonl", line(3, lambda row: row.__setitem__(2, float("nan"))), 3, "from line 4 on"),
    "above one": ("scores.jsonl", line(0, lambda row: row.__setitem__(2, 97.5)), 0, "from line 1 on"),
    "short genome": ("scores.jsonl", line(11, lambda row: row.__setitem__(0, row[0][:3])), 11, "from line 12 on"),
    "gene": ("scores.jsonl", line(11, lambda row: row[0].__setitem__(0, 77)), 11, "from line 12 on"),
    "generation": ("scores.jsonl", line(11, lambda row: row.__setitem__(1, 2)), 11, "from line 12 on"),
    "object": ("scores.jsonl", line(2, lambda _: {"genome": 1}), 2, "from line 3 on"),
    "line lost": ("scores.jsonl", lambda text: b"".join(text.splitlines(keepends=True)[1:]), 0, "from line 1 on"),
    "line twice": ("scores.jsonl", lambda text: text.splitlines(keepends=True)[0] + text, 1, "from line 2 on"),
    "deep line": ("scores.jsonl", lambda text: b"[" * 10**5 + b"\n" + text, 0, "from line 1 on"),
    "binary": ("scores.jsonl", lambda text: b"\xff" + text, 0, "from line 1 on"),
    "empty": ("scores.jsonl", lambda _: b"", 0, "counts scores that are not there"),
    "cut": ("scores.jsonl", lambda text: text[:100], 1, "counts scores that are not there"),
    "digest": ("scores.jsonl.sha256", lambda text: text[:70].replace(b"1", b"2") + text[70:], 0, "from line"),
    "beyond": ("state.json", value(lambda state: state.update(generations=4)), 25, "was changed"),
    "less": ("state.json", value(lambda state: state.update(told=10)), 25, "was changed"),
    "genes": (
        "state.json",
        value(lambda state: state["algorithm"]["genomes"][0].__setitem__(0, 99)),
        25,
        "was changed",
    ),
    "rng": ("state.json", value(lambda state: state["algorithm"].pop("rng")), 25, "was changed"),
    "no digest": ("state.json", value(lambda state: state.pop("digest")), 25, "does not say whose it is"),
    "no state": ("state.json", lambda _: b"{}", 25, "does not say whose it is"),
    "cut state": ("state.json", lambda text: text[:-9], 25, "state.json is damaged"),
    "deep state": ("state.json", lambda _: b"[" * 10**5 + b"]" * 10**5, 25, "state.json is damaged"),
    "nan state": ("state.json", lambda _: b'{"told": NaN}', 25, "state.json is damaged"),
    "study": ("study.db", lambda text: text[: len(text) // 2], 25, ""),
    "no database": ("study.db", lambda _: b"no database" * 1000, 25, ""),
}


@pytest.mark.parametrize("name", DAMAGES)
def test_damage_is_noticed_and_the_end_is_that_of_an_unbroken_search(
    name: str, whole: Callable[[str], Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file, damage, believed, reason = DAMAGES[name]
    with pytest.raises(Killed):
        run(problem(Curve(killed_after(25))), tmp_path / "run")
    path = tmp_path / "run" / file
    path.write_bytes(damage(path.read_bytes()))
    capsys.readouterr()
    again = Curve()
    run(problem(again), tmp_path / "run")
    told = " ".join(capsys.readouterr().err.split())
    assert reason in told
    assert ("the search goes on from the" in told) == bool(reason)
    assert_whole(tmp_path / "run", whole("nsga2"))
    # A chunk of 4 is written at once, so 24 of the 25 were on disk.
    assert len(again.scored) == 40 - min(believed, 24)


def assert_whole(folder: Path, whole: Path) -> None:
    assert results(folder) == results(whole)
    for name in (*FILES, "scores.jsonl.sha256"):
        assert (folder / name).read_bytes() == (whole / name).read_bytes()
    studies = [optuna.load_study(study_name="search", storage=f"sqlite:///{f}/study.db") for f in (folder, whole)]
    mine, theirs = ([(trial.values, trial.params, trial.user_attrs) for trial in s.trials] for s in studies)
    assert mine == theirs


@pytest.mark.parametrize("file", ["scores.jsonl", "scores.jsonl.sha256", "state.json", "study.db"])
@pytest.mark.parametrize("odd", ["fifo", "link"])
def test_nothing_waits_for_a_fifo_or_follows_a_link(
    file: str, odd: str, whole: Callable[[str], Path], tmp_path: Path
) -> None:
    with pytest.raises(Killed):
        run(problem(Curve(killed_after(25))), tmp_path / "run")
    path, precious = tmp_path / "run" / file, tmp_path / "precious"
    precious.write_text("mine")
    path.unlink()
    os.mkfifo(path) if odd == "fifo" else path.symlink_to(precious)
    run(problem(), tmp_path / "run")
    assert_whole(tmp_path / "run", whole("nsga2"))
    assert precious.read_text() == "mine"


def test_the_scores_of_another_search_are_not_believed(
    whole: Callable[[str], Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The same settings and the same genomes, but a supernet of another seed."""
    mine, theirs = (Workspace(tmp_path / name, owner=Owner("search", name)) for name in ("mine", "theirs"))
    searched = problem(Curve(killed_after(25)))
    table = check_constraints(searched.settings, SPACE, searched.costs)
    for workspace in (mine, theirs):
        workspace.folder.mkdir()
        with pytest.raises(Killed):
            search(problem(Curve(killed_after(25))), table, workspace)
    for name in (*FILES, "scores.jsonl.sha256"):
        shutil.copy(theirs.folder / name, mine.folder / name)
    again = Curve()
    search(problem(again), table, mine)
    assert len(again.scored) == 40
    assert "is another work's" in " ".join(capsys.readouterr().err.split())


def test_scores_of_an_earlier_version_count(whole: Callable[[str], Path], tmp_path: Path) -> None:
    with pytest.raises(Killed):
        run(problem(Curve(killed_after(25))), tmp_path / "run")
    (tmp_path / "run" / "scores.jsonl.sha256").unlink()
    state = json.loads((tmp_path / "run" / "state.json").read_text())
    old = {key: state[key] for key in ("generations", "told", "algorithm")}
    (tmp_path / "run" / "state.json").write_text(json.dumps(old))
    again = Curve()
    run(problem(again), tmp_path / "run")
    assert len(again.scored) == 40 - 24
    assert_whole(tmp_path / "run", whole("nsga2"))


@pytest.mark.parametrize("accuracy", ["NaN", "1.5", "-0.1", "true", "null"])
def test_scores_of_an_earlier_version_that_are_none_do_not(
    accuracy: str, whole: Callable[[str], Path], tmp_path: Path
) -> None:
    with pytest.raises(Killed):
        run(problem(Curve(killed_after(25))), tmp_path / "run")
    (tmp_path / "run" / "scores.jsonl.sha256").unlink()
    path = tmp_path / "run" / "scores.jsonl"
    lines = path.read_text().splitlines()
    lines[5] = json.dumps(json.loads(lines[5])[:2])[:-1] + f", {accuracy}]"
    path.write_text("\n".join(lines) + "\n")
    again = Curve()
    run(problem(again), tmp_path / "run")
    assert len(again.scored) == 40 - 5
    assert_whole(tmp_path / "run", whole("nsga2"))


def sqlite_error(code: int) -> Callable[..., Any]:
    error = sqlite3.OperationalError("words")
    error.sqlite_errorcode = code

    def fail(*_: Any) -> Any:
        raise OperationalError("INSERT", None, error)

    return fail


@pytest.mark.parametrize(
    ("code", "words"),
    [
        (sqlite3.SQLITE_FULL, "the disk is full; free some space"),
        (sqlite3.SQLITE_BUSY, "another program has held it for 60 seconds; close it"),
        (sqlite3.SQLITE_BUSY_SNAPSHOT, "another program has held it"),
        (sqlite3.SQLITE_READONLY, ": words; run the same command again"),
    ],
)
def test_why_a_study_cannot_be_written(code: int, words: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Study, "add", sqlite_error(code))
    with pytest.raises(UserError) as refusal:
        run(problem(), tmp_path / "run")
    assert words in str(refusal.value)
    assert str(tmp_path / "run" / "study.db") in str(refusal.value)
    assert "\n" not in str(refusal.value)


def test_a_study_damaged_while_it_is_written_is_made_anew(
    whole: Callable[[str], Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(study_file, "_REFRESH_SECONDS", 0.0)

    def drop(architecture: Architecture) -> None:
        if architecture.choices == whole_genomes[20]:
            with sqlite3.connect(tmp_path / "run" / "study.db") as connection:
                connection.execute("DROP TABLE trial_values")

    whole_genomes = [tuple(json.loads(text)[0]) for text in (whole("nsga2") / FILES[1]).read_text().splitlines()]
    run(problem(Curve(drop)), tmp_path / "run")
    assert_whole(tmp_path / "run", whole("nsga2"))


def test_what_sqlite_left_beside_a_study_does_not_undo_a_new_one(whole: Callable[[str], Path], tmp_path: Path) -> None:
    with pytest.raises(Killed):
        run(problem(Curve(killed_after(25))), tmp_path / "run")
    left = [tmp_path / "run" / f"study.db{suffix}" for suffix in ("-journal", "-wal", "-shm")]
    for path in left:
        path.write_bytes(b"x" * 5000)
    run(problem(), tmp_path / "run")
    assert_whole(tmp_path / "run", whole("nsga2"))
    assert not any(path.exists() and path.read_bytes() == b"x" * 5000 for path in left)


@pytest.mark.parametrize(
    "name",
    ["what?", "a%00b", "50%20", "a#b", "a[x]", "a\nb", "{x}", "a b", "file:x", "q?mode=memory&uri=true", b"caf\xe9"],
)
def test_the_study_lies_in_the_run_folder_whatever_that_is_called(name: str | bytes, tmp_path: Path) -> None:
    folder = tmp_path / os.fsdecode(name)
    run(problem(), folder)
    assert sorted(path.name for path in tmp_path.iterdir()) == [folder.name]
    assert [path.name for path in folder.glob("study*")] == ["study.db"]
    with closing(sqlite3.connect(folder / "study.db")) as study:
        assert study.execute("select count(*) from trials").fetchone() == (40,)
