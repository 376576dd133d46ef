"""A search in a run folder: cut off anywhere, it ends as an unbroken one, and scores nothing twice."""

from __future__ import annotations

import json
import os
import sqlite3
from collections.abc import Callable
from contextlib import closing
from functools import cache
from pathlib import Path
from typing import get_args

import pytest
from fairnas.pipeline.config import SearchConfig
from fairnas.pipeline.errors import UserError

from .problems import Curve, Killed, killed_after, problem, results, run

ALGORITHMS = get_args(SearchConfig.model_fields["algorithm"].annotation)
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


@pytest.mark.parametrize(
    ("file", "content", "message"),
    [
        ("scores.jsonl", lambda text: text.replace("[", "{", 1), "scores.jsonl is damaged"),
        ("scores.jsonl", lambda text: text[:100].rpartition("\n")[0], "scores.jsonl lacks scores"),
        ("state.json", lambda text: text[:-9], "state.json is damaged"),
        ("state.json", lambda _: "{}", "state.json is damaged"),
        ("state.json", lambda text: text.replace('"algorithm": {', '"algorithm": [', 1), "state.json is damaged"),
    ],
)
def test_damaged_files_are_refused(file: str, content: Callable[[str], str], message: str, tmp_path: Path) -> None:
    with pytest.raises(Killed):
        run(problem(Curve(killed_after(25))), tmp_path / "run")
    path = tmp_path / "run" / file
    path.write_text(content(path.read_text()))
    with pytest.raises(UserError, match=f"{message}: run the same command with --force search to start again"):
        run(problem(), tmp_path / "run")


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
