"""From a table to the latency of any network made of blocks it can price."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from ..models import Block
from .errors import LatencyError
from .features import FEATURES, block_features, block_sizes, size_group
from .table import FittedModel, LatencyTable


@dataclass(frozen=True, slots=True)
class Price:
    """What one block costs inside a network; `extrapolated` when its size lies outside those that were measured."""

    latency_ms: float
    extrapolated: bool


@dataclass(frozen=True, slots=True)
class Prediction:
    """What a network costs; `extrapolated` when any of its blocks is."""

    latency_ms: float
    extrapolated: bool


class Predictor:
    """Predicts with one table; blocks it has priced before are only looked up.

    Args:
        table: the table to predict with; its calibration is applied.

    Attributes:
        fixed_ms: added once per network; negative where blocks measured alone repeat a cost that a network has once.

    Raises:
        LatencyError: the table is fitted over features that this version does not know.
    """

    def __init__(self, table: LatencyTable) -> None:
        self.table = table
        self.fixed_ms = table.calibration.intercept_ms if table.calibration else 0.0
        self._slope = table.calibration.slope if table.calibration else 1.0
        self._prices: dict[Block, Price] = {}
        unknown = set(table.model.coefficients) - set(FEATURES) if table.model else set()
        if unknown:
            raise LatencyError(
                f"latency table {table.name} prices '{min(unknown)}', which this fairnas does not know: update fairnas"
            )

    def price(self, block: Block) -> Price:
        """What a block costs inside a network, on the table's device.

        Raises:
            LatencyError: the table cannot price this block.
        """
        price = self._prices.get(block)
        if price is None:
            price = self._fitted(block, self.table.model) if self.table.model else self._measured(block)
            self._prices[block] = price
        return price

    def predict(self, blocks: Iterable[Block]) -> Prediction:
        """What a network costs: the sum of its blocks, and `fixed_ms`.

        Raises:
            LatencyError: the table cannot price one of the blocks.
        """
        prices = [self.price(block) for block in blocks]
        latency_ms = self.fixed_ms + sum(price.latency_ms for price in prices)
        return Prediction(latency_ms, any(price.extrapolated for price in prices))

    def _measured(self, block: Block) -> Price:
        entry = self.table.blocks.get(block.signature)
        if entry is None:
            raise LatencyError(
                f"latency table {self.table.name} has no measurement of block {block.signature}: "
                "measure the space at this size with `fairnas profile`"
            )
        return Price(self._slope * entry.latency_ms, extrapolated=False)

    def _fitted(self, block: Block, model: FittedModel) -> Price:
        group = size_group(block)
        measured_kinds = {name.partition("-")[0] for name in model.measured_ranges}
        if block.se_ratio or block.activation == "swish" or block.kind not in measured_kinds:
            raise LatencyError(
                f"latency table {self.table.name} cannot price block {block.signature}: it was fitted to "
                f"{', '.join(sorted(measured_kinds))} blocks without squeeze-and-excitation and Swish; "
                "search a plain network, or use a table measured on the device"
            )
        features = block_features(block)
        latency_ms = sum(coefficient * features[name] for name, coefficient in model.coefficients.items())
        ranges = model.measured_ranges.get(group)
        inside = ranges is not None and all(
            ranges[name][0] <= size <= ranges[name][1] for name, size in block_sizes(block).items()
        )
        return Price(latency_ms, extrapolated=not inside)
