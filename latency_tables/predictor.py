"""From a table to the latency of any network made of blocks it can price."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from ..models import Block
from .errors import LatencyError
from .features import FEATURES, block_features, block_sizes, shape, size_group
from .table import FittedModel, LatencyTable

UNCHECKED_ERROR = 0.4
"""Relative error where nothing was checked: on one server CPU networks took up to 40% longer than their blocks."""

_EXTRAPOLATED = 2.0  # times as uncertain as blocks of new shapes within the measured sizes


@dataclass(frozen=True, slots=True)
class Price:
    """What one block costs inside a network.

    Attributes:
        latency_ms: its price.
        extrapolated: its size lies outside those that were measured.
        error: what 90% of such prices stay within, relative.
    """

    latency_ms: float
    extrapolated: bool
    error: float


@dataclass(frozen=True, slots=True)
class Prediction:
    """What a network costs.

    Attributes:
        latency_ms: the estimate.
        low_ms: where the interval begins that holds the measured latency nine times out of ten.
        high_ms: where it ends.
        extrapolated: any of its blocks is.
    """

    latency_ms: float
    low_ms: float
    high_ms: float
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
        calibration = table.calibration
        self.fixed_ms = calibration.intercept_ms if calibration else 0.0
        self._slope = calibration.slope if calibration else 1.0
        self._cold_share = calibration.cold_share if calibration else 0.0
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

    def predict(self, blocks: Sequence[Block]) -> Prediction:
        """What a network costs: the sum of its blocks, and `fixed_ms`.

        The interval of a measured table comes from whole networks that it predicted, and from how much sessions differ:
        what is measured later is measured in another one. That of a fitted table comes from
        blocks that were held out: errors of one shape are taken as one error (they add up), and so are those of all
        extrapolated blocks, which have one cause; different shapes are taken as independent (their squares add up).

        Raises:
            LatencyError: the table cannot price one of the blocks.
        """
        prices = [self.price(block) for block in blocks]
        latency_ms = self.fixed_ms + sum(price.latency_ms for price in prices)
        half = latency_ms * self._network_error() if self.table.blocks else _half_width(blocks, prices)
        low_ms = max(latency_ms - half, 0.0)
        return Prediction(latency_ms, low_ms, latency_ms + half, any(price.extrapolated for price in prices))

    def check_covers(self, blocks: Iterable[Block]) -> None:
        """Refuse a table that cannot price everything it is about to be used for.

        Raises:
            LatencyError: blocks are missing; the line says how many and names one.
        """
        distinct = {block.signature: block for block in blocks}
        missing = [name for name in distinct if name not in self.table.blocks] if self.table.blocks else []
        if missing:
            raise LatencyError(
                f"latency table {self.table.name} lacks {len(missing)} of {len(distinct)} blocks, for example "
                f"{missing[0]}: it was measured for another space or size; measure this one with `fairnas profile`"
            )
        for block in distinct.values():
            self.price(block)

    def _network_error(self) -> float:
        validation, calibration, steadiness = self.table.validation, self.table.calibration, self.table.steadiness
        scatter = validation.scatter_p90 if validation and steadiness else None
        for error in (scatter, validation and validation.p90, calibration and calibration.loo_p90):
            if error is not None:
                return math.hypot(error, steadiness.session_error if steadiness else 0.0)
        return UNCHECKED_ERROR

    def _measured(self, block: Block) -> Price:
        entry = self.table.blocks.get(block.signature)
        if entry is None:
            raise LatencyError(
                f"latency table {self.table.name} has no measurement of block {block.signature}: "
                "measure the space at this size with `fairnas profile`"
            )
        alone = (1 - self._cold_share) * entry.latency_ms + self._cold_share * entry.cold_ms
        return Price(self._slope * alone, extrapolated=False, error=self._network_error())

    def _fitted(self, block: Block, model: FittedModel) -> Price:
        squeezed = any(sizes.get("squeeze_channels", (0, 0))[1] for sizes in model.measured_ranges.values())
        if block.activation in ("swish", "hswish") or (block.se_ratio and not squeezed):
            part = "Swish" if squeezed else "squeeze-and-excitation and Swish"
            raise LatencyError(
                f"latency table {self.table.name} cannot price block {block.signature}: it was fitted to blocks "
                f"without {part}; search a plain network, or use a table measured on the device"
            )
        features = block_features(block)
        latency_ms = sum(coefficient * features[name] for name, coefficient in model.coefficients.items())
        ranges = model.measured_ranges.get(size_group(block))
        inside = ranges is not None and all(
            ranges[name][0] <= size <= ranges[name][1] for name, size in block_sizes(block).items()
        )
        return Price(latency_ms, extrapolated=not inside, error=self._fitted_error(block, model, inside))

    def _fitted_error(self, block: Block, model: FittedModel, inside: bool) -> float:
        validation = self.table.validation
        if validation is None or validation.grouped_p90 is None:
            return UNCHECKED_ERROR
        if block.kind not in {name.partition("-")[0] for name in model.measured_ranges}:
            return UNCHECKED_ERROR  # only its parts were measured, in other kinds of blocks
        if not inside:
            return _EXTRAPOLATED * validation.grouped_p90
        if shape(block) in model.measured_shapes and validation.loo_p90 is not None:
            return validation.loo_p90
        return validation.grouped_p90


def _half_width(blocks: Sequence[Block], prices: Sequence[Price]) -> float:
    parts: dict[str, float] = defaultdict(float)
    for block, price in zip(blocks, prices, strict=True):
        parts[error_group(block, price)] += price.latency_ms * price.error
    return math.hypot(*parts.values())


def error_group(block: Block, price: Price) -> str:
    """What the errors of blocks are taken as one error by: their shape, or being extrapolated."""
    return "extrapolated" if price.extrapolated else shape(block)
