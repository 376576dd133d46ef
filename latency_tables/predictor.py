"""From a table to the latency of any network made of blocks it can price."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from statistics import NormalDist

from ..models import Block
from .block_features import FEATURES, block_features, block_sizes, shape, size_group
from .errors import LatencyError
from .table import LatencyTable
from .table_parts import LONGEST_MS, SHORTEST_MS, FittedModel

UNCHECKED_ERROR = 0.4
"""Relative error where nothing was checked: on one server CPU networks took up to 40% longer than their blocks."""

_NINE_IN_TEN = NormalDist().inv_cdf(0.95)  # standard deviations on either side of the mean
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

    def chance_within(self, limit_ms: float) -> float:
        """The chance that a measurement keeps a limit: errors are taken as normal, 90% of them inside the interval."""
        if self.high_ms <= self.latency_ms:
            return float(self.latency_ms <= limit_ms)
        spread = (self.high_ms - self.latency_ms) / _NINE_IN_TEN
        return NormalDist().cdf((limit_ms - self.latency_ms) / spread)


class Predictor:
    """Predicts with one table; blocks it has priced before are only looked up.

    Args:
        table: the table to predict with; its calibration and its network factor are applied.

    Attributes:
        fixed_ms: added once per network; negative where blocks measured alone repeat a cost that a network has once.
        network_factor: what the sum of that and of the blocks' prices is multiplied by.

    Raises:
        LatencyError: the table is fitted over features that this version does not know.
    """

    def __init__(self, table: LatencyTable) -> None:
        self.table = table
        calibration = table.calibration
        self.fixed_ms = calibration.intercept_ms if calibration else 0.0
        self.network_factor = table.network_factor.factor if table.network_factor else 1.0
        self._slope = calibration.slope if calibration else 1.0
        self._cold_share = calibration.cold_share if calibration else 0.0
        self._prices: dict[Block, Price] = {}
        unknown = set(table.model.coefficients) - set(FEATURES) if table.model else set()
        if unknown:
            raise LatencyError(
                f"latency table {table.name} prices '{min(unknown)}', which this fairnas does not know: update fairnas"
            )

    def price(self, block: Block) -> Price:
        """What a block adds to a network on the table's device, before `network_factor`.

        Raises:
            LatencyError: the table cannot price this block.
        """
        price = self._prices.get(block)
        if price is None:
            price = self._fitted(block, self.table.model) if self.table.model else self._measured(block)
            if not SHORTEST_MS <= price.latency_ms <= LONGEST_MS:
                raise LatencyError(
                    f"latency table {self.table.name} prices block {block.signature} at {price.latency_ms:.3g} ms, "
                    "which no block takes: measure the device again with `fairnas profile`"
                )
            self._prices[block] = price
        return price

    def predict(self, blocks: Sequence[Block]) -> Prediction:
        """What a network costs: the sum of its blocks and `fixed_ms`, times `network_factor`.

        The interval of a measured table comes from whole networks that it predicted, and from how much sessions differ:
        what is measured later is measured in another one. That of a fitted table comes from
        blocks that were held out: errors of one shape are taken as one error (they add up), and so are those of all
        extrapolated blocks, which have one cause; different shapes are taken as independent (their squares add up).

        Raises:
            LatencyError: the table cannot price one of the blocks.
        """
        prices = [self.price(block) for block in blocks]
        latency_ms = self.network_factor * (self.fixed_ms + sum(price.latency_ms for price in prices))
        if not latency_ms > 0:
            raise LatencyError(
                f"latency table {self.table.name} predicts {latency_ms:.3g} ms for a network, which none takes: it was "
                "calibrated on much larger ones; measure the device again with `fairnas profile`"
            )
        if self.table.blocks:
            half = latency_ms * self._network_error()
        else:
            half = math.hypot(self.network_factor * _half_width(blocks, prices), latency_ms * self.common_error)
        low_ms = max(latency_ms - half, 0.0)
        return Prediction(latency_ms, low_ms, latency_ms + half, any(price.extrapolated for price in prices))

    @property
    def common_error(self) -> float:
        """What all blocks of a fitted table's networks are wrong by together, relative, with probability 90%."""
        factor = self.table.network_factor
        return factor.error if factor else 0.0

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
        factor = self.table.network_factor
        session = steadiness.session_error if steadiness else 0.0
        if factor is not None:
            return factor.error
        if validation and validation.p90 is not None:
            # What all networks shared in one session may be the session's or the table's: never less than was seen.
            scatter = validation.scatter_p90 if validation.scatter_p90 is not None else validation.p90
            return max(validation.p90, math.hypot(scatter, session))
        if calibration and calibration.loo_p90 is not None:
            return math.hypot(calibration.loo_p90, session)
        if validation and validation.loo_p90 is not None and validation.sum_error is not None:
            # A scaled table: how well its blocks are known, and what whole networks may add to their sum.
            return math.hypot(validation.loo_p90, validation.sum_error)
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
        lacking = _lacking(block, model)
        if lacking:
            raise LatencyError(
                f"latency table {self.table.name} cannot price block {block.signature}: it was fitted to blocks "
                f"without {lacking}; search a plain network, or use a table measured on the device"
            )
        features = block_features(block)
        latency_ms = sum(coefficient * features[name] for name, coefficient in model.coefficients.items())
        ranges = model.measured_ranges.get(size_group(block), {})
        inside = all(
            name in ranges and ranges[name][0] <= size <= ranges[name][1] for name, size in block_sizes(block).items()
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


def _lacking(block: Block, model: FittedModel) -> str | None:
    """What a block has that none of the measured ones had, in words."""
    squeezed = any(sizes.get("squeeze_channels", (0, 0))[1] for sizes in model.measured_ranges.values())
    swished = model.coefficients.get("hswish_elements", 0) > 0
    lacking = [
        *(["squeeze-and-excitation"] if block.se_ratio and not squeezed else []),
        *(["Swish"] if block.activation == "swish" else []),
        *(["hard-Swish"] if block.activation == "hswish" and not swished else []),
    ]
    return " and ".join(lacking) or None


def _half_width(blocks: Sequence[Block], prices: Sequence[Price]) -> float:
    parts: dict[str, float] = defaultdict(float)
    for block, price in zip(blocks, prices, strict=True):
        parts[error_group(block, price)] += price.latency_ms * price.error
    return math.hypot(*parts.values())


def error_group(block: Block, price: Price) -> str:
    """What the errors of blocks are taken as one error by: their shape, or being extrapolated."""
    return "extrapolated" if price.extrapolated else shape(block)
