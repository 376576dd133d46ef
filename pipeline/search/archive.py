"""Everything that a search has scored, in order."""

from __future__ import annotations

import csv
import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from .algorithms.fitness import order_by_fitness
from .algorithms.interface import Genome
from .quantities import excess

_COLUMNS = ("accuracy", "latency_ms", "madds", "params")


@dataclass(frozen=True)
class Scored:
    """One scored architecture; `values` holds its accuracy and every cost that was tabulated."""

    genome: Genome
    architecture: str
    generation: int
    values: dict[str, float]
    extrapolated: bool


@dataclass
class Archive:
    """Scored architectures beside what is asked of them.

    Attributes:
        objectives: `maximize` or `minimize` by quantity.
        limits: limit by quantity: an upper one of costs, a lower one of accuracy.
    """

    objectives: Mapping[Any, str]
    limits: Mapping[str, float]
    members: list[Scored] = field(default_factory=list)

    def minimised(self, members: Sequence[Scored] | None = None) -> np.ndarray:
        """Objectives `[n, k]`, sign turned where they are maximised."""
        signs = {"maximize": -1.0, "minimize": 1.0}
        rows = [
            [signs[direction] * member.values[quantity] for quantity, direction in self.objectives.items()]
            for member in (self.members if members is None else members)
        ]
        return np.array(rows, dtype=np.float64).reshape(-1, len(self.objectives))

    def violations(self, members: Sequence[Scored] | None = None) -> np.ndarray:
        """By how much limits are broken in all, each relative to its limit, `[n]`; 0 when feasible."""
        return np.array(
            [
                sum(excess(quantity, member.values[quantity], limit) for quantity, limit in self.limits.items())
                for member in (self.members if members is None else members)
            ],
            dtype=np.float64,
        )

    def front(self) -> list[int]:
        """Indices of the feasible members that no feasible member dominates."""
        violations = self.violations()
        order, ranks = order_by_fitness(self.minimised(), violations)
        return [i for i, rank in zip(order, ranks, strict=True) if rank == 0 and violations[i] <= 0]

    def to_csv(self) -> str:
        """All members, one row each."""
        front, violations = set(self.front()), self.violations()
        more = [name for name in (self.members[0].values if self.members else ()) if name not in _COLUMNS]
        quantities = [*_COLUMNS, *more]
        file = io.StringIO()
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(["architecture", *quantities, "feasible", "on_front", "generation", "extrapolated"])
        for index, member in enumerate(self.members):
            values = [int(member.values[q]) if q == "params" else repr(member.values[q]) for q in quantities]
            flags = [int(violations[index] <= 0), int(index in front), member.generation, int(member.extrapolated)]
            writer.writerow([member.architecture, *values, *flags])
        return file.getvalue()
