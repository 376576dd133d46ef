"""What a latency table consists of: timings, fits, and what was found when they were checked."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Literal, TypeAlias

import numpy as np
from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

from .device import Sample

# Times from a nanosecond to nearly three hours: with what lies beyond, sums and ratios overflow or vanish.
SHORTEST_MS, LONGEST_MS = 1e-6, 1e7


Milliseconds = Annotated[float, Field(ge=SHORTEST_MS, le=LONGEST_MS)]


Finite = Annotated[float, Field(ge=-LONGEST_MS, le=LONGEST_MS)]


Coefficient = Annotated[float, Field(ge=0, le=1e4)]


Precision: TypeAlias = Literal["fp32", "int8"]


Share = Annotated[float, Field(ge=0, le=1)]


Error = Annotated[float, Field(ge=0, le=1e6)]


Rank = Annotated[float, Field(ge=-1, le=1)]


Figures: TypeAlias = dict[str, int | Finite]


class Strict(BaseModel):
    """A part of a table: nothing besides what is known, of no other type, and nothing that changes."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)


class BlockLatency(Strict):
    """Measurements of one block or network, in ms.

    The minimum is the estimate: under other load it moved by less than 1% where the median moved by 2 to 165%.

    Attributes:
        latency_ms: the shortest warm run.
        cold_ms: the shortest run after other models ran.
        median_ms: of the warm runs.
        p90_ms: of the warm runs.
        rounds: how many there were; 0 where the times were scaled from another device's.
        disturbed: share of warm runs that others got in the way of, see `Sample`; None where nothing can be told.
        others: mean share of the device's cores that other work used meanwhile; None where it does not tell.
        settled: whether the three shortest undisturbed runs agreed; None of fewer than three rounds, and in old tables.
    """

    latency_ms: Milliseconds
    cold_ms: Milliseconds
    median_ms: Milliseconds
    p90_ms: Milliseconds
    rounds: Annotated[int, Field(ge=0)]
    disturbed: Share | None = None
    others: Share | None = None
    settled: bool | None = None

    @classmethod
    def of(cls, samples: Sequence[Sample], *, settled: bool | None = None) -> BlockLatency:
        """Summarise samples."""
        warm = [round(sample.warm_ms, 6) for sample in samples]
        median, p90 = np.percentile(warm, [50, 90]).round(6).tolist()
        told = [sample for sample in samples if sample.is_told]
        others = [sample.others for sample in samples if sample.others is not None]
        return cls(
            latency_ms=min(warm),
            cold_ms=round(min(sample.cold_ms for sample in samples), 6),
            median_ms=median,
            p90_ms=p90,
            rounds=len(warm),
            disturbed=round(sum(sample.is_disturbed for sample in told) / len(told), 3) if told else None,
            others=round(min(sum(others) / len(others), 1.0), 3) if others else None,
            settled=settled,
        )

    @model_validator(mode="after")
    def _consistent(self) -> BlockLatency:
        if not self.latency_ms <= self.median_ms <= self.p90_ms:
            raise ValueError("latency_ms, median_ms and p90_ms do not rise")
        return self


class Steadiness(Strict):
    """How steady the device was while a table was measured, told by networks that were timed again and again.

    Attributes:
        references_ms: of each of a few fixed networks, by digest of its blocks: its time at each moment, in sessions of
            their own from the beginning to the end.
        moved: how much slower the slowest moment was than the fastest, over all of them.
        session_error: the difference that 90% of two sessions stay below, relative.
        networks: how many whole networks were timed, counted every time.
        settled: how many of them settled.
        disturbed: share of their runs that others got in the way of; None where the device does not tell.
        others: mean share of the device's cores that other work used; None where the device does not tell.
        slower: by how much the references take longer than in the fastest earlier table of the same device that passed
            the gate; negative where they are faster, None where there is none.
        earlier: when that table was measured.
    """

    references_ms: dict[str, Annotated[list[Milliseconds], Field(min_length=1)]]
    moved: Error
    session_error: Error
    networks: Annotated[int, Field(ge=0)]
    settled: Annotated[int, Field(ge=0)]
    disturbed: Share | None = None
    others: Share | None = None
    slower: Annotated[float, Field(gt=-1, allow_inf_nan=False)] | None = None
    earlier: str | None = None


class FittedModel(Strict):
    """A block's latency as a sum of its physical features, each times a coefficient that is not negative.

    Attributes:
        coefficients: ms per unit of each feature (see `features.py`).
        measured_ranges: smallest and largest value of each size among the measured blocks, per group of blocks; a block
            outside them is extrapolated.
        measured_shapes: of which shapes blocks were measured (see `features.shape`); others are less certain.
    """

    coefficients: dict[str, Coefficient]
    measured_ranges: dict[str, dict[str, tuple[int, int]]]
    measured_shapes: list[str] = Field(default_factory=list)

    @field_validator("coefficients")
    @classmethod
    def _costs_something(cls, coefficients: dict[str, float]) -> dict[str, float]:
        if not any(coefficients.values()):
            raise ValueError("none is above 0: every block would cost nothing")
        return coefficients


class NetworkLatency(Strict):
    """A whole network, in ms: the sum of its blocks measured alone, and the time that it took."""

    sum_ms: Milliseconds
    measured_ms: Milliseconds


class Calibration(Strict):
    """What a network costs, from the blocks that were measured alone: `intercept_ms + slope * sum`.

    The intercept may be negative: blocks alone pay 20 times for what a network pays once.

    Attributes:
        cold_share: how much of a block's price is its cold time, the rest its warm time.
        networks: what the line was fitted to.
        loo_mape: mean absolute relative error of each of them predicted by a line fitted to the others.
        loo_p90: the error that 90% of those stay below.
    """

    intercept_ms: Finite
    slope: Annotated[float, Field(ge=1e-6, le=1e6)]
    cold_share: Share = 0.0
    networks: Annotated[list[NetworkLatency], Field(min_length=1)]
    loo_mape: Error | None = None
    loo_p90: Error | None = None


class NetworkFactor(Strict):
    """What a table's predictions are multiplied by, from whole networks that somebody measured.

    Attributes:
        factor: what the networks took, as a share of what their blocks' prices add up to.
        n: how many there were.
        error: what 90% of further networks stay within after that, relative, as far as these tell.
        source: who measured which networks.
    """

    factor: Annotated[float, Field(ge=1e-3, le=1e3)]
    n: Annotated[int, Field(ge=1)]
    error: Error
    source: str


class Validation(Strict):
    """How well a table was checked. All errors are absolute and relative to what was measured.

    What is not named here is refused: figures stand beside the gate's verdict in reports, and must not pass for it.

    Attributes:
        by: what was held out of what.
        n: how many networks (measured tables) or blocks (fitted and scaled ones) were predicted.
        mape: mean error on whole networks that the calibration has not seen.
        p90: the error that 90% of them stay below.
        scatter_p90: the same without the error that all of them share, which another session would have otherwise.
        within_5: share of them within 5%.
        within_10: share of them within 10%.
        interval_coverage: share of networks inside the interval that the calibration alone promised for 90%.
        bias_before: mean signed error of the plain sum of blocks.
        spearman: rank correlation of prediction and measurement.
        remeasure_spearman: rank correlation of two measurements of the same networks: the ceiling.
        spearman_gap_interval: bootstrap interval (95%) of the ceiling less `spearman`.
        sum_error: by how much whole networks differed from the sums of their blocks on the device that a scaled table
            came from, at most.
        loo_mape: mean error of each block as priced by a fit to all the others.
        loo_p90: the error that 90% of those stay below.
        grouped_mape: the same with whole groups of blocks held out, as new shapes would be.
        grouped_p90: the error that 90% of those stay below.
        grouped_bias: mean signed error of the same.
        groups: how many there were.
        fit_mape: mean error of the fit on what it was fitted to.
        fit_p90: the error that 90% of those stay below.
        nested_mape: mean error of held-out groups where the features, too, were chosen without them.
        nested_p90: the error that 90% of those stay below.
        choice_blocks: the same figures over the blocks that networks repeat.
        kinds: the same figures for each kind of block.
        with_grouped_convolutions: the same with grouped convolutions, which no table prices.
        rest_of_fbnet: a network without its blocks, predicted and measured.
        nasbench201: how the table does on whole networks of that space.
    """

    by: str
    n: Annotated[int, Field(ge=1)]
    mape: Error | None = None
    p90: Error | None = None
    scatter_p90: Error | None = None
    within_5: Share | None = None
    within_10: Share | None = None
    interval_coverage: Share | None = None
    bias_before: Finite | None = None
    spearman: Rank | None = None
    remeasure_spearman: Rank | None = None
    spearman_gap_interval: tuple[Finite, Finite] | None = None
    sum_error: Error | None = None
    loo_mape: Error | None = None
    loo_p90: Error | None = None
    grouped_mape: Error | None = None
    grouped_p90: Error | None = None
    grouped_bias: Finite | None = None
    groups: Annotated[int, Field(ge=1)] | None = None
    fit_mape: Error | None = None
    fit_p90: Error | None = None
    nested_mape: Error | None = None
    nested_p90: Error | None = None
    choice_blocks: Figures | None = None
    kinds: dict[str, Figures] | None = None
    with_grouped_convolutions: Figures | None = None
    rest_of_fbnet: Figures | None = None
    nasbench201: Figures | None = None
