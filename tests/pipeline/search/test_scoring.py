"""Threads and ranks that share the scoring: the same front whatever their number."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from fairnas.models import AnySupernet, build_supernet
from fairnas.pipeline.check_settings import load_config
from fairnas.pipeline.config import Config
from fairnas.pipeline.data import Dataset
from fairnas.pipeline.search.algorithms import ALGORITHMS
from fairnas.pipeline.search.scoring import ThreadedScorer, split
from fairnas.pipeline.stages.context import open_dataset
from fairnas.pipeline.supernet.scoring import PathScorer
from hypothesis import given
from hypothesis import strategies as st

from .. import tiny
from .problems import SPACE, Curve, costs, problem, results, run


@given(st.lists(st.integers(), max_size=30), st.integers(1, 9))
def test_parts_are_neighbours_of_about_the_same_number(items: list[int], count: int) -> None:
    parts = split(items, count)
    assert [item for part in parts for item in part] == items
    assert len(parts) == count
    assert max(map(len, parts)) - min(map(len, parts)) <= 1


@pytest.fixture(scope="module")
def images() -> tuple[AnySupernet, Dataset, Config]:
    config = load_config("tiny", ["scoring.calibration_images=32", "scoring.batch_size=64", "data.heldout=0.05"])
    torch.manual_seed(0)
    dataset = open_dataset(config)
    return build_supernet(SPACE.scaled(0.25), len(dataset.classes)), dataset, config


@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_the_front_does_not_depend_on_the_number_of_threads(
    algorithm: str, images: tuple[AnySupernet, Dataset, Config], tmp_path: Path
) -> None:
    """With a real supernet, whose recalibrated batch norm differs in its last bits between numbers of threads."""
    threads = torch.get_num_threads()
    found: list[dict[str, bytes]] = []
    for cores, workers in ((1, 1), (2, None), *([(2, 1), (1, 3)] if algorithm == "nsga2" else [])):
        torch.set_num_threads(cores)
        scorer = ThreadedScorer(lambda: PathScorer(*images), workers)
        assert scorer.width == workers or cores
        searched = problem(scorer, algorithm=algorithm, population=4, generations=2, chunk=1)
        found.append(results(run(searched, tmp_path / f"{cores}-{workers}")))
        assert torch.get_num_threads() == cores
    torch.set_num_threads(threads)
    assert all(other == found[0] for other in found)


def test_each_thread_has_a_scorer_of_its_own() -> None:
    made: list[Curve] = []

    def make() -> Curve:
        made.append(Curve())
        return made[-1]

    scorer = ThreadedScorer(make, 3)
    architectures = [SPACE.uniform(index) for index in (0, 1, 2, 3, 4, 5, 0)]
    heard: list[float] = []
    accuracies = scorer.score_all(architectures, heard.append)
    assert accuracies == Curve().score_all(architectures, lambda _: None)
    assert sorted(heard) == sorted(accuracies)
    assert [len(one.scored) for one in made] == [2, 2, 3]
    assert scorer.score_all([], heard.append) == []


def test_a_scorer_that_fails_fails_the_search() -> None:
    def fail(_: object) -> None:
        raise OSError("no images")

    with pytest.raises(OSError, match="no images"):
        ThreadedScorer(lambda: Curve(fail), 2).score_all([SPACE.uniform(0)] * 4, lambda _: None)


def torchrun(run_folder: Path, *more: str) -> subprocess.CompletedProcess[str]:
    command = ["-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
    # Without the two dashes torchrun would take --run for an abbreviation of its own --run-path.
    arguments = ["-m", "--", "fairnas.pipeline.cli", "search", *tiny.arguments(run_folder)[1:], *more]
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    return subprocess.run(
        [sys.executable, *command, *arguments], capture_output=True, text=True, check=False, env=environment
    )


@pytest.mark.slow
def test_ranks_end_with_what_one_process_finds(unbroken: Path, tmp_path: Path) -> None:
    folder = tmp_path / "run"
    tiny.rewind(unbroken, folder, "search")
    finished = torchrun(folder)
    assert finished.returncode == 0, finished.stderr
    assert tiny.comparable(folder) == tiny.comparable(unbroken)
    # Only the first rank speaks.
    assert finished.stderr.count("running search") == 1
    assert tiny.lines(finished.stderr, "running") == ["search"]


@pytest.mark.slow
def test_a_mistake_is_told_once_and_no_rank_is_left_waiting(unbroken: Path, tmp_path: Path) -> None:
    folder = tmp_path / "run"
    tiny.rewind(unbroken, folder, "search")
    finished = torchrun(folder, "--set", "search.constraints=[params<=1]")
    assert finished.returncode != 0
    assert finished.stderr.count("no network of space b meets params<=1") == 1


def test_costs_are_known_before_anything_is_scored() -> None:
    assert set(problem().scored((0,) * 19, 0, 0.5).values) == {"accuracy", *costs().per_choice}
