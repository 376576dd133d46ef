"""Searches over a real space with real costs, whose scores take no time: what is tested is the search around them."""

from __future__ import annotations

import itertools
import time
from collections.abc import Callable, Sequence
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
from fairnas.latency_tables import Predictor, load_table
from fairnas.models import Architecture, get_space
from fairnas.pipeline.runs.run import Workspace
from fairnas.pipeline.search.constraints import limits_of
from fairnas.pipeline.search.costs import SpaceCosts, space_costs
from fairnas.pipeline.search.problem import Problem
from fairnas.pipeline.search.scoring import Advance
from fairnas.pipeline.search.search import check_constraints, search
from fairnas.pipeline.search.settings import SearchConfig

SPACE = get_space("b").scaled(0.5)


@cache
def costs() -> SpaceCosts:
    return space_costs(SPACE, Predictor(load_table("pixel1")), 64, 10)


class Curve:
    """Accuracies that rise with the choices, the earlier layers counting less.

    Args:
        before: called before each architecture is scored.
    """

    width = 1

    def __init__(self, before: Callable[[Architecture], None] = lambda _: None) -> None:
        self._before = before
        self.scored: list[tuple[int, ...]] = []

    def score_all(self, architectures: Sequence[Architecture], advance: Advance) -> list[float]:
        accuracies: list[float] = []
        for architecture in architectures:
            self._before(architecture)
            self.scored.append(architecture.choices)
            genome = architecture.choices
            accuracies.append(1 - float(np.exp(-np.dot(genome, np.linspace(1, 2, len(genome))) / 60)))
            advance(accuracies[-1])
        return accuracies


class Killed(BaseException):
    """Nothing catches it, as nothing catches a kill."""


def killed_after(scores: int) -> Callable[[Architecture], None]:
    counter = itertools.count()

    def before(_: Architecture) -> None:
        if next(counter) == scores:
            raise Killed

    return before


def slowly(seconds: float) -> Callable[[Architecture], None]:
    return lambda _: time.sleep(seconds)


def problem(scorer: Any = None, **settings: Any) -> Problem:
    """A search of 4 generations of 10, unless `settings` say otherwise."""
    merged = {"population": 10, "generations": 4, "chunk": 4, "algorithm": "nsga2"} | settings
    config, known = SearchConfig.model_validate(merged), costs()
    limits = limits_of(config.parsed_constraints, check_constraints(config, SPACE, known))
    return Problem(config, 0, SPACE, known, limits, scorer or Curve())


def run(searched: Problem, folder: Path, start_again: bool = False, **more: Any) -> Path:
    """Carry out a search in a folder."""
    folder.mkdir(parents=True, exist_ok=True)
    table = check_constraints(searched.settings, SPACE, searched.costs)
    search(searched, table, Workspace(folder, start_again=start_again), **more)
    return folder


def results(folder: Path) -> dict[str, bytes]:
    """What must be equal in two searches, byte for byte."""
    return {name: (folder / name).read_bytes() for name in ("pareto.csv", "picks.json", "history.json")}
