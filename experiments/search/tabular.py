"""Spaces whose every architecture was trained and measured: what a search finds there is known, and so is the best."""

from __future__ import annotations

import csv
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
from pymoo.util.nds.non_dominated_sorting import find_non_dominated

from ...pipeline.errors import UserError
from ...pipeline.search.algorithms.interface import Genome
from ...pipeline.search.hypervolume import archive_hypervolumes

TRUTH, LATENCY = Path("nasbench201", "nasbench201.csv"), Path("latency", "nasbench201_latency.csv")


@dataclass(frozen=True)
class TabularTask:
    """A search problem with its answer.

    Attributes:
        objectives: `[n, k]`, minimised; accuracy, as its negative, is the first.
        row_of: place of a genome in them.
        genes: number of values of each gene.
    """

    objectives: np.ndarray
    row_of: dict[Genome, int]
    genes: tuple[int, ...]

    @cached_property
    def front(self) -> np.ndarray:
        """The true front, `[m, k]`."""
        return self.objectives[find_non_dominated(self.objectives)]

    @cached_property
    def true_hypervolume(self) -> float:
        """Of the true front, its ideal point at 0 and its nadir at 1, the reference at 1.1."""
        return self._hypervolumes(self.front, [len(self.front)])[0]

    def score(self, genomes: Sequence[Genome]) -> np.ndarray:
        """Objectives `[n, k]` of genomes."""
        return self.objectives[[self.row_of[genome] for genome in genomes]]

    def hypervolume_shares(self, found: np.ndarray, ends: Sequence[int]) -> np.ndarray:
        """Hypervolume of the first `end` of the objectives found `[n, k]`, as shares of the true one's."""
        return np.array(self._hypervolumes(found, ends)) / self.true_hypervolume

    def _hypervolumes(self, points: np.ndarray, ends: Sequence[int]) -> list[float]:
        return archive_hypervolumes(points, ends, self.front.min(axis=0), self.front.max(axis=0))


def read_nasbench201(folder: Path, accuracy: str, device: str) -> TabularTask:
    """NAS-Bench-201: accuracy, parameters, multiply-adds and the latency on a device.

    Args:
        folder: with `nasbench201/nasbench201.csv` and `latency/nasbench201_latency.csv`.
        accuracy: column of the former, in percent.
        device: column of the latter, in ms.

    Raises:
        UserError: a file cannot be read, lacks a column or a number, or they do not list the same architectures.
    """
    truth, latency = _read(folder / TRUTH), _read(folder / LATENCY)
    names = [row.get("arch") for row in truth]
    if not names or names != [row.get("arch") for row in latency]:
        raise UserError(f"{folder / TRUTH} and {folder / LATENCY} do not list the same architectures in one order")
    columns = [(truth, accuracy), (truth, "params_m"), (truth, "conv_mflops"), (latency, device)]
    try:
        values = np.array([[float(row[column]) for row in rows] for rows, column in columns]).T
        genomes = [tuple(map(int, str(name))) for name in names]
    except (KeyError, TypeError, ValueError) as error:
        raise UserError(f"{folder / TRUTH} or {folder / LATENCY} lacks a column or holds no number: {error}") from None
    layers, choices = len(genomes[0]), 1 + max(map(max, genomes))
    if len(set(genomes)) != choices**layers or not np.isfinite(values).all():
        raise UserError(f"{folder / TRUTH} does not hold all {choices**layers:,} architectures of the space")
    objectives = values * np.array([-0.01, 1, 1, 1])
    return TabularTask(objectives, {genome: row for row, genome in enumerate(genomes)}, (choices,) * layers)


def _read(path: Path) -> list[dict[str, str]]:
    try:
        with path.open(newline="", encoding="utf-8") as file:
            return list(csv.DictReader(file))
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(f"cannot read {path}: {error}") from None
