"""Upper limits on what a network may cost, and whether any network of a space can meet them."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from scipy.optimize import LinearConstraint, milp

from ...models import SearchSpace
from .costs import SpaceCosts

LIMITED = ("latency_ms", "madds", "params")


@dataclass(frozen=True, slots=True)
class Constraint:
    """`quantity <= limit`; a limit of `None` stands for what the median network of the space has."""

    quantity: str
    limit: float | None

    @classmethod
    def parse(cls, text: str) -> Constraint:
        """Read `latency_ms<=80`, `madds<=400e6` or `params<=median`.

        Raises:
            ValueError: the text is not of that form.
        """
        match = re.fullmatch(r"\s*(\w+)\s*<=\s*(\S+)\s*", text)
        if not match or match[1] not in LIMITED:
            raise ValueError(
                f"'{text}' is not a constraint: write one of {', '.join(f'{q}<=' for q in LIMITED)} a number"
            )
        if match[2] == "median":
            return cls(match[1], None)
        try:
            limit = float(match[2])
        except ValueError:
            raise ValueError(f"'{text}' is not a constraint: '{match[2]}' is neither a number nor 'median'") from None
        if not np.isfinite(limit) or limit <= 0:
            raise ValueError(f"'{text}' is not a constraint: the limit must be a positive number")
        return cls(match[1], limit)

    def __str__(self) -> str:
        return f"{self.quantity}<={'median' if self.limit is None else f'{self.limit:.15g}'}"


@dataclass(frozen=True, slots=True)
class Satisfiability:
    """One constraint beside what the space has to offer."""

    quantity: str
    smallest: float
    median: float
    largest: float
    limit: float

    @property
    def satisfiable(self) -> bool:
        """Whether some network meets this constraint."""
        return self.smallest <= self.limit


def resolve(constraints: Sequence[Constraint], space: SearchSpace, costs: SpaceCosts) -> list[Satisfiability]:
    """Put numbers to the constraints. The median is over 1,001 architectures drawn with a fixed seed."""
    rng = np.random.default_rng(0)
    sample = rng.integers(len(space.choices), size=(1001, len(space.layers)))
    table: list[Satisfiability] = []
    for constraint in constraints:
        per_layer = costs.per_choice[constraint.quantity]
        median = float(np.median([costs.of(genome)[constraint.quantity] for genome in sample]))
        table.append(
            Satisfiability(
                constraint.quantity,
                float(costs.fixed[constraint.quantity] + per_layer.min(axis=1).sum()),
                median,
                float(costs.fixed[constraint.quantity] + per_layer.max(axis=1).sum()),
                median if constraint.limit is None else constraint.limit,
            )
        )
    return table


def jointly_satisfiable(limits: Mapping[str, float], costs: SpaceCosts) -> bool:
    """Whether one network meets all limits at once: an exact integer program over one choice per layer."""
    if not limits:
        return True
    layers, choices = next(iter(costs.per_choice.values())).shape
    one_choice_per_layer = np.kron(np.eye(layers), np.ones(choices))
    within = [
        LinearConstraint(costs.per_choice[quantity].reshape(1, -1), ub=limit - costs.fixed[quantity])
        for quantity, limit in limits.items()
    ]
    outcome = milp(
        c=np.zeros(layers * choices),
        integrality=np.ones(layers * choices),
        bounds=(0, 1),
        constraints=[LinearConstraint(one_choice_per_layer, 1, 1), *within],
    )
    return outcome.status == 0
