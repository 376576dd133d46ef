"""What every architecture of a space costs, from per-layer tables: microseconds per architecture."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from ...latency_tables import LatencyError, Predictor
from ...latency_tables.predictor import error_group
from ...models import Block, SearchSpace


@dataclass(frozen=True)
class Spread:
    """Errors that add up within a group, and in quadrature (root of the sum of squares) between groups.

    Attributes:
        error: `[groups, layers, choices]`, what each block adds to half the width of its network's interval.
        fixed: `[groups]`, what the parts that all networks share add to each group.
    """

    error: np.ndarray
    fixed: np.ndarray

    @classmethod
    def by_group(cls, error: np.ndarray, group: np.ndarray, fixed: np.ndarray) -> Spread:
        """Of errors `[layers, choices]` that each belong to one group `[layers, choices]`, 0 .. groups-1."""
        return cls(np.where(np.arange(len(fixed))[:, None, None] == group, error, 0.0), fixed)

    def of(self, genome: Sequence[int]) -> float:
        """Half the width of a network's interval."""
        parts = self.error[:, np.arange(len(genome)), genome].sum(axis=1)
        return float(np.linalg.norm(parts + self.fixed))

    @property
    def matrix(self) -> np.ndarray:
        """`[groups, layers * choices]`: times 0/1 variables, one per layer and choice, the errors by group."""
        return self.error.reshape(len(self.fixed), -1)


@dataclass(frozen=True)
class SpaceCosts:
    """Costs of a space at one size.

    Attributes:
        per_choice: for each quantity an array `[layers, choices]`.
        fixed: for each quantity what stem, separable block, head and classifier add; to latency also what the table
            adds once per network.
        extrapolated: `[layers, choices]`, true where the latency table had to extrapolate a block.
        fixed_extrapolated: the same for the fixed parts.
        spreads: what comes on top where a quantity is not a sum over layers.
    """

    per_choice: dict[str, np.ndarray]
    fixed: dict[str, float]
    extrapolated: np.ndarray
    fixed_extrapolated: bool
    spreads: dict[str, Spread] = field(default_factory=dict)

    def of(self, genome: Sequence[int]) -> dict[str, float]:
        """Every quantity of one architecture's choice indices."""
        layers = np.arange(len(genome))
        values = {q: self.fixed[q] + float(table[layers, genome].sum()) for q, table in self.per_choice.items()}
        for quantity, spread in self.spreads.items():
            values[quantity] += spread.of(genome)
        return values

    def is_extrapolated(self, genome: Sequence[int]) -> bool:
        """Whether any block's latency lies outside what was measured."""
        return self.fixed_extrapolated or bool(self.extrapolated[np.arange(len(genome)), genome].any())


def space_costs(
    space: SearchSpace, predictor: Predictor, resolution: int, num_classes: int, int8: Predictor | None = None
) -> SpaceCosts:
    """Tabulate a space at its deploy size: latency, its upper end, multiply-adds and parameters.

    Args:
        space: at its deploy width.
        predictor: of the latency of exported networks.
        resolution: of deployed networks, in pixels.
        num_classes: of the classifier.
        int8: of the latency of quantised networks; with it `latency_int8_ms` is tabulated too.

    Raises:
        LatencyError: a table cannot price a block of the space, or has a network take no time.
    """
    networks = [space.blocks(space.uniform(index), resolution, num_classes) for index in range(len(space.choices))]
    parts = _Parts(
        fixed=[*networks[0][:2], *networks[0][-2:]],
        layers=[[network[2 + layer] for network in networks] for layer in range(len(space.layers))],
    )
    per_choice = {"latency_ms": parts.latency(predictor)}
    fixed = {"latency_ms": parts.fixed_latency(predictor)}
    spreads: dict[str, Spread] = {}
    if predictor.table.blocks:
        # The interval of a measured table is a share of the estimate, the same for every network.
        share = 1 + predictor.price(parts.fixed[0]).error
        per_choice["latency_upper_ms"] = share * per_choice["latency_ms"]
        fixed["latency_upper_ms"] = share * fixed["latency_ms"]
    else:
        per_choice["latency_upper_ms"], fixed["latency_upper_ms"] = per_choice["latency_ms"], fixed["latency_ms"]
        spreads["latency_upper_ms"] = parts.spread(predictor)
    if int8 is not None:
        per_choice["latency_int8_ms"], fixed["latency_int8_ms"] = parts.latency(int8), parts.fixed_latency(int8)
    for name, table in per_choice.items():
        smallest = fixed[name] + float(table.min(axis=1).sum())
        if not smallest > 0:
            of = int8 if name == "latency_int8_ms" and int8 else predictor
            raise LatencyError(
                f"latency table {of.table.name} predicts {smallest:.3g} ms for the smallest network, which none takes: "
                "it was calibrated on much larger ones; measure the device again with `fairnas profile`"
            )
    for name in ("madds", "params"):
        per_choice[name] = np.array([[getattr(b.cost, name) for b in row] for row in parts.layers], dtype=np.float64)
        fixed[name] = float(sum(getattr(block.cost, name) for block in parts.fixed))
    return SpaceCosts(
        per_choice,
        fixed,
        extrapolated=np.array([[predictor.price(block).extrapolated for block in row] for row in parts.layers]),
        fixed_extrapolated=any(predictor.price(block).extrapolated for block in parts.fixed),
        spreads=spreads,
    )


@dataclass(frozen=True)
class _Parts:
    """The blocks that networks of a space are made of: those of all networks, and `[layers][choices]`."""

    fixed: list[Block]
    layers: list[list[Block]]

    def latency(self, predictor: Predictor) -> np.ndarray:
        prices = np.array([[predictor.price(block).latency_ms for block in row] for row in self.layers])
        return predictor.network_factor * prices

    def fixed_latency(self, predictor: Predictor) -> float:
        blocks = sum(predictor.price(block).latency_ms for block in self.fixed)
        return predictor.network_factor * (predictor.fixed_ms + blocks)

    def spread(self, predictor: Predictor) -> Spread:
        """Errors by `error_group`, and that of the whole network, which is a group of all blocks."""
        names: dict[str, int] = {}

        def group(block: Block) -> int:
            return names.setdefault(error_group(block, predictor.price(block)), len(names))

        def error(block: Block) -> float:
            price = predictor.price(block)
            return predictor.network_factor * price.latency_ms * price.error

        groups = np.array([[group(block) for block in row] for row in self.layers])
        errors = np.array([[error(block) for block in row] for row in self.layers])
        of_fixed = [group(block) for block in self.fixed]
        fixed = np.bincount(of_fixed, [error(block) for block in self.fixed], minlength=len(names))
        spread, common = Spread.by_group(errors, groups, fixed), predictor.common_error
        return Spread(
            np.concatenate([spread.error, common * self.latency(predictor)[None]]),
            np.append(spread.fixed, common * self.fixed_latency(predictor)),
        )
