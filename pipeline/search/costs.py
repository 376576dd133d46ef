"""What every architecture of a space costs, as sums of per-layer tables: microseconds per architecture."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from ...latency_tables import Predictor
from ...models import Block, SearchSpace


@dataclass(frozen=True)
class SpaceCosts:
    """Costs of a space at one size.

    Attributes:
        per_choice: for each quantity an array `[layers, choices]`.
        fixed: for each quantity what stem, separable block, head and classifier add; to latency also what the table
            adds once per network.
        extrapolated: `[layers, choices]`, true where the latency table had to extrapolate a block.
        fixed_extrapolated: the same for the fixed parts.
    """

    per_choice: dict[str, np.ndarray]
    fixed: dict[str, float]
    extrapolated: np.ndarray
    fixed_extrapolated: bool

    def of(self, genome: Sequence[int]) -> dict[str, float]:
        """`latency_ms`, `madds` and `params` of one architecture's choice indices."""
        layers = np.arange(len(genome))
        return {q: self.fixed[q] + float(table[layers, genome].sum()) for q, table in self.per_choice.items()}

    def is_extrapolated(self, genome: Sequence[int]) -> bool:
        """Whether any block's latency lies outside what was measured."""
        return self.fixed_extrapolated or bool(self.extrapolated[np.arange(len(genome)), genome].any())


def space_costs(space: SearchSpace, predictor: Predictor, resolution: int, num_classes: int) -> SpaceCosts:
    """Tabulate a space at its deploy size.

    Raises:
        LatencyError: the table cannot price a block of the space.
    """
    networks = [space.blocks(space.uniform(index), resolution, num_classes) for index in range(len(space.choices))]
    fixed_blocks = [*networks[0][:2], *networks[0][-2:]]
    choice_blocks = [[network[2 + layer] for network in networks] for layer in range(len(space.layers))]
    quantities: dict[str, Callable[[Block], float]] = {
        "latency_ms": lambda block: predictor.price(block).latency_ms,
        "madds": lambda block: block.cost.madds,
        "params": lambda block: block.cost.params,
    }
    fixed = {name: float(sum(value(block) for block in fixed_blocks)) for name, value in quantities.items()}
    fixed["latency_ms"] += predictor.fixed_ms
    return SpaceCosts(
        per_choice={
            name: np.array([[value(block) for block in row] for row in choice_blocks], dtype=np.float64)
            for name, value in quantities.items()
        },
        fixed=fixed,
        extrapolated=np.array([[predictor.price(block).extrapolated for block in row] for row in choice_blocks]),
        fixed_extrapolated=any(predictor.price(block).extrapolated for block in fixed_blocks),
    )
