"""What a search costs besides scoring: whole searches whose scorer answers at once, beside Optuna's own NSGA-II.

`python -m fairnas.experiments.search.overhead` writes results/search_overhead.json.
"""

from __future__ import annotations

import logging
import os
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import optuna
import typer

from ...common.files import write_json
from ...latency_tables import Predictor, load_table
from ...models import Architecture, get_space
from ...pipeline.console import console
from ...pipeline.runs.provenance import ROOT, commit, machine
from ...pipeline.runs.run import Workspace, versions
from ...pipeline.search.algorithms.interface import Genome
from ...pipeline.search.constraints import limits_of
from ...pipeline.search.costs import SpaceCosts, space_costs
from ...pipeline.search.problem import Problem
from ...pipeline.search.scoring import Advance
from ...pipeline.search.search import check_constraints, search
from ...pipeline.search.settings import SearchConfig

SIZES = (1_600, 6_400, 12_800)
POPULATION, SPACE, TABLE, RESOLUTION, CLASSES = 64, "b", "pixel1", 224, 1000
TRIALS_OF_OPTUNA = 256


class InstantScorer:
    """Stands for a supernet: an accuracy that rises with the choices, in no time. It counts the time it takes."""

    width = 1

    def __init__(self) -> None:
        self.seconds = 0.0

    def score_all(self, architectures: Sequence[Architecture], advance: Advance) -> list[float]:
        """As `Scorer.score_all`."""
        started = time.perf_counter()
        scores = [instant_accuracy(architecture.choices) for architecture in architectures]
        self.seconds += time.perf_counter() - started
        for score in scores:
            advance(score)
        return scores


def instant_accuracy(genome: Genome) -> float:
    """Rises with every choice, less and less, and a little with where it is made."""
    return 1 - float(np.exp(-np.dot(genome, np.linspace(1, 2, len(genome))) / (5 * len(genome))))


def search_ms(algorithm: str, architectures: int, costs: SpaceCosts) -> tuple[float, float]:
    """Milliseconds per architecture of a whole search, from empty folder to results: elapsed, and of the CPU."""
    # As much is written and shown as in any search; only the seconds of the scorer are taken off.
    settings = SearchConfig.model_validate(
        {"algorithm": algorithm, "population": POPULATION, "generations": architectures // POPULATION}
    )
    space, scorer = get_space(SPACE), InstantScorer()
    with tempfile.TemporaryDirectory() as folder:
        started, computed = time.perf_counter(), time.process_time()
        table = check_constraints(settings, space, costs)
        problem = Problem(settings, 0, space, costs, limits_of(settings.parsed_constraints, table), scorer)
        search(problem, table, Workspace(Path(folder)))
        seconds = time.perf_counter() - started - scorer.seconds, time.process_time() - computed
        return seconds[0] / architectures * 1e3, seconds[1] / architectures * 1e3


def optuna_ms(costs: SpaceCosts) -> float:
    """The same of `optuna.samplers.NSGAIISampler`, asked and told trial by trial, a parameter per layer, in SQLite."""
    optuna.logging.set_verbosity(logging.WARNING)
    space = get_space(SPACE)
    sampler = optuna.samplers.NSGAIISampler(population_size=POPULATION, seed=0)
    with tempfile.TemporaryDirectory() as folder:
        started = time.perf_counter()
        study = optuna.create_study(
            storage=f"sqlite:///{folder}/study.db", sampler=sampler, directions=["maximize", "minimize"]
        )
        for _ in range(TRIALS_OF_OPTUNA):
            trial = study.ask()
            names = range(1, len(space.layers) + 1)
            genome = tuple(trial.suggest_int(f"layer_{n:02d}", 0, len(space.choices) - 1) for n in names)
            study.tell(trial, [instant_accuracy(genome), costs.of(genome)["latency_ms"]])
        return (time.perf_counter() - started) / TRIALS_OF_OPTUNA * 1e3


def main(
    algorithm: Annotated[str, typer.Option(help="One of search.algorithm.")] = "nsga2-reinforced",
    out: Annotated[Path, typer.Option(help="Where the figures go.")] = ROOT / "results" / "search_overhead.json",
) -> None:
    """Measure, print and write what a search costs besides scoring."""
    costs = space_costs(get_space(SPACE), Predictor(load_table(TABLE)), RESOLUTION, CLASSES)
    load = os.getloadavg()[0]
    search_ms("nsga2", POPULATION, costs)  # the first one also imports
    elapsed: dict[str, dict[str, float]] = {}
    computed: dict[str, dict[str, float]] = {}
    for name, size in [*((algorithm, size) for size in SIZES), ("nsga2", SIZES[0])]:
        milliseconds, of_cpu = search_ms(name, size, costs)
        elapsed.setdefault(name, {})[str(size)] = round(milliseconds, 3)
        computed.setdefault(name, {})[str(size)] = round(of_cpu, 3)
        console.print(f"{name}: {milliseconds:.2f} ms per architecture at {size:,}, {of_cpu:.2f} ms of CPU")
    alternative = round(optuna_ms(costs), 3)
    console.print(f"Optuna's NSGAIISampler in SQLite: {alternative:.1f} ms per trial at {TRIALS_OF_OPTUNA}")
    figures: dict[str, Any] = {
        "ms_per_architecture": elapsed[algorithm],
        "cpu_ms_per_architecture": computed[algorithm],
        "algorithm": algorithm,
        "ms_per_architecture_nsga2": elapsed["nsga2"],
        "alternative": {
            "what": "optuna.samplers.NSGAIISampler, ask and tell, SQLite, one parameter per layer",
            "trials": TRIALS_OF_OPTUNA,
            "ms_per_trial": alternative,
        },
        "protocol": "whole searches in an empty folder: algorithm, journal, state, Optuna study in SQLite with one "
        "parameter per layer, costs, results; the scorer's own time is subtracted; one thread, each size once",
        "population": POPULATION,
        "space": SPACE,
        "layers": len(get_space(SPACE).layers),
        "machine": machine(),
        "load_average": round(load, 2),  # of the machine, before; above 0 others made the elapsed times longer
        "versions": versions(),
        "commit": commit(),
    }
    write_json(out, figures)


if __name__ == "__main__":
    typer.run(main)
