"""Limits on networks, and whether any network of a space can meet them."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import inf
from typing import TYPE_CHECKING

import numpy as np

from ...models import SearchSpace
from ...models.genes import draw_values
from ..errors import UserError
from .limits import relation
from .quantities import COSTS

if TYPE_CHECKING:
    from .costs import SpaceCosts


@dataclass(frozen=True, slots=True)
class Constraint:
    """`cost <= limit` or `accuracy >= limit`; a limit of `None` stands for what the space's median network has."""

    quantity: str
    limit: float | None

    @classmethod
    def parse(cls, text: str) -> Constraint:
        """Read `latency_ms<=80`, `madds<=400e6`, `params<=median` or `accuracy>=0.6`.

        Raises:
            ValueError: the text is not of that form.
        """
        match = re.fullmatch(r"\s*(\w+)\s*(<=|>=)\s*(\S+)\s*", text)
        if not match or match[2] != relation(match[1]):
            known = ", ".join(f"{quantity}{relation(quantity)}" for quantity in (*COSTS, "accuracy"))
            raise ValueError(f"'{text}' is not a constraint: write one of {known} a number")
        if match[3] == "median" and match[1] in COSTS:
            return cls(match[1], None)
        try:
            limit = float(match[3])
        except ValueError:
            raise ValueError(f"'{text}' is not a constraint: '{match[3]}' is neither a number nor 'median'") from None
        if not 0 < limit < inf:
            raise ValueError(f"'{text}' is not a constraint: the limit must be a positive number")
        if match[1] == "accuracy" and limit > 1:
            raise ValueError(f"'{text}' is not a constraint: accuracy lies between 0 and 1")
        return cls(match[1], limit)

    def __str__(self) -> str:
        limit = "median" if self.limit is None else f"{self.limit:.15g}"
        return f"{self.quantity}{relation(self.quantity)}{limit}"


@dataclass(frozen=True, slots=True)
class Satisfiability:
    """One limit on a cost beside what the space has to offer."""

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
    """Put numbers to the constraints on costs. The median is over 1,001 architectures drawn with a fixed seed.

    Raises:
        UserError: nothing prices a quantity for this space.
    """
    from .choice_program import largest, solve  # scipy is not needed to read constraints

    rng = np.random.default_rng(0)
    sample = draw_values(space.genes, rng, 1001)
    table: list[Satisfiability] = []
    for constraint in constraints:
        if constraint.quantity not in COSTS:
            continue
        quantity = constraint.quantity
        if quantity not in costs.per_choice:
            raise UserError(f"{constraint} cannot be kept: nothing prices {quantity} here; drop that limit")
        smallest = solve(costs, {}, minimise=quantity)
        assert smallest is not None  # without limits there is a network
        median = float(np.median([costs.of(genome)[quantity] for genome in sample]))
        table.append(
            Satisfiability(
                quantity,
                costs.of(smallest)[quantity],
                median,
                costs.of(largest(costs, quantity))[quantity],
                median if constraint.limit is None else constraint.limit,
            )
        )
    return table


def limits_of(constraints: Sequence[Constraint], table: Sequence[Satisfiability]) -> dict[str, float]:
    """The limit of each quantity, those given as medians with their numbers."""
    medians = {row.quantity: row.limit for row in table}
    return {c.quantity: medians[c.quantity] if c.limit is None else c.limit for c in constraints}


def jointly_satisfiable(limits: Mapping[str, float], costs: SpaceCosts) -> bool:
    """Whether one network meets all limits on costs at once."""
    from .choice_program import solve

    return solve(costs, {quantity: limit for quantity, limit in limits.items() if quantity in COSTS}) is not None
