"""Everything that a search has scored, in order."""

from __future__ import annotations

import csv
import io
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np

from .nsga2 import Genome, order_by_fitness


@dataclass(frozen=True)
class Scored:
    """One scored architecture; `values` holds accuracy, latency_ms, madds and params."""

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
        limits: upper limit by quantity.
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
        """How far limits are exceeded in all, each relative to its limit, `[n]`; 0 when feasible."""
        return np.array(
            [
                sum(max(0.0, member.values[quantity] / limit - 1) for quantity, limit in self.limits.items())
                for member in (self.members if members is None else members)
            ]
        )

    def front(self) -> list[int]:
        """Indices of the feasible members that no feasible member dominates."""
        violations = self.violations()
        order, ranks = order_by_fitness(self.minimised(), violations)
        return [i for i, rank in zip(order, ranks, strict=True) if rank == 0 and violations[i] <= 0]

    def to_csv(self) -> str:
        """All members, one row each."""
        front, violations = set(self.front()), self.violations()
        columns = ("architecture", "accuracy", "latency_ms", "madds", "params")
        file = io.StringIO()
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow([*columns, "feasible", "on_front", "generation", "extrapolated"])
        for index, member in enumerate(self.members):
            costs = [
                repr(member.values[name]) if name != "params" else int(member.values[name]) for name in columns[1:]
            ]
            flags = [int(violations[index] <= 0), int(index in front), member.generation, int(member.extrapolated)]
            writer.writerow([member.architecture, *costs, *flags])
        return file.getvalue()

    def state(self) -> list[dict[str, Any]]:
        """All members as JSON values."""
        return [asdict(member) for member in self.members]

    def load_state(self, state: list[dict[str, Any]]) -> None:
        """Go on from a saved state."""
        self.members = [Scored(**{**row, "genome": tuple(row["genome"])}) for row in state]
