"""From blocks measured alone to whole networks: a line fitted to a few networks that are measured too.

A block that runs alone finds its weights and activations in the caches, inside a network it often does not: the slope
is above one. Each run alone also pays for starting and for bringing tensors into the runtime's own layout, which a
network pays once: the intercept is often negative, and is all that every network of one space has in common.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from ..models import Architecture, Block, SearchSpace
from .table import LatencyTable
from .table_parts import Calibration, NetworkLatency

# With fewer networks noise decides about the intercept.
_LEAST_FOR_INTERCEPT = 4
_COLD_SHARES = (0.0, 0.5, 1.0)
# A price that mixes warm and cold times must be this much better than warm times alone to be worth its keep.
_EARNS_ITS_PLACE = 0.8


def calibration_networks(
    space: SearchSpace, count: int, se_ratio: float = 0.0, *, hard_swish: bool = False
) -> list[Architecture]:
    """Networks spread over a space from its smallest to its largest, always the same ones.

    Each takes an evenly growing number of steps up from the smallest choices, in layers drawn at random.
    """
    rng = np.random.default_rng(0)
    by_size = sorted(range(len(space.choices)), key=lambda index: space.cost(space.uniform(index)).madds)
    steps = np.full(len(space.layers), len(by_size) - 1)
    shares = np.linspace(0, 1, count) if count > 1 else np.full(count, 0.5)
    ranks = [rng.multivariate_hypergeometric(steps, round(share * steps.sum())) for share in shares]
    networks = [space.architecture([by_size[rank] for rank in row], se_ratio) for row in ranks]
    return [network.with_hard_swish() for network in networks] if hard_swish else networks


def calibrate(table: LatencyTable, networks: Sequence[Sequence[Block]], measured_ms: Sequence[float]) -> LatencyTable:
    """Fit `latency = intercept + slope * sum of blocks` to networks that were measured on the table's device.

    Blocks cost their warm times, or a mixture of warm and cold ones where that predicts networks left out of the fit
    clearly better.

    Args:
        table: a table that prices every block of the networks; an earlier calibration is replaced.
        networks: the blocks of each network.
        measured_ms: what each took.
    """
    measured = np.asarray(measured_ms, dtype=float)
    fits = {share: _leave_one_out_error(block_sums(table, networks, share), measured) for share in _COLD_SHARES}
    best = min(fits, key=lambda share: fits[share])
    share = best if fits[best] < _EARNS_ITS_PLACE * fits[0.0] else 0.0
    line = _line(block_sums(table, networks, share), measured, share)
    return table.model_copy(update={"calibration": line, "network_factor": None})


def recalibrate(table: LatencyTable, networks: Sequence[Sequence[Block]], measured_ms: Sequence[float]) -> LatencyTable:
    """Fit the line again with more networks beside those that it was fitted to; it takes a network factor's place."""
    share = table.calibration.cold_share if table.calibration else 0.0
    before = table.calibration.networks if table.calibration else []
    sums = [*(pair.sum_ms for pair in before), *block_sums(table, networks, share).tolist()]
    measured = [*(pair.measured_ms for pair in before), *measured_ms]
    line = _line(np.array(sums), np.array(measured), share)
    return table.model_copy(update={"calibration": line, "network_factor": None})


def block_sums(table: LatencyTable, networks: Sequence[Sequence[Block]], cold_share: float = 0.0) -> np.ndarray:
    """The plain sum of each network's blocks in ms, `[n]`, as they are in the table."""
    return np.array(
        [
            sum(
                (1 - cold_share) * table.blocks[block.signature].latency_ms
                + cold_share * table.blocks[block.signature].cold_ms
                for block in network
            )
            for network in networks
        ]
    )


def fit_line(sums: np.ndarray, measured: np.ndarray) -> tuple[float, float]:
    """Intercept and slope of the line with the least squared relative error; `sums` and `measured` are `[n]`, in ms.

    The slope is positive, and so is the line wherever it was fitted; where the best line is not, or networks are few,
    the intercept is 0.
    """
    if len(sums) >= _LEAST_FOR_INTERCEPT:
        terms = np.stack([1 / measured, sums / measured], axis=1)
        intercept, slope = np.linalg.lstsq(terms, np.ones(len(sums)), rcond=None)[0]
        if slope > 0 and intercept + slope * sums.min() > 0:
            return float(intercept), float(slope)
    ratios = sums / measured
    return 0.0, float(ratios.sum() / (ratios**2).sum())


def leave_one_out(sums: np.ndarray, measured: np.ndarray) -> np.ndarray:
    """Relative error of each network, `[n]`, predicted by a line fitted to all the others."""
    errors = np.empty(len(sums))
    for place in range(len(sums)):
        others = np.arange(len(sums)) != place
        intercept, slope = fit_line(sums[others], measured[others])
        errors[place] = (intercept + slope * sums[place]) / measured[place] - 1
    return errors


def upper_error(errors: np.ndarray, share: float = 0.9) -> float:
    """The error that a new one stays below with probability `share`, given `[n]` earlier ones (split conformal).

    Of few errors it is the largest.
    """
    rank = min(int(np.ceil(share * (len(errors) + 1))), len(errors))
    return float(np.sort(errors)[rank - 1])


def _line(sums: np.ndarray, measured: np.ndarray, cold_share: float) -> Calibration:
    sums = sums.round(6)
    intercept, slope = fit_line(sums, measured)
    errors = np.abs(leave_one_out(sums, measured)) if len(sums) > 1 else None
    return Calibration(
        intercept_ms=round(intercept, 6),
        slope=round(slope, 6),
        cold_share=cold_share,
        networks=[
            NetworkLatency(sum_ms=total, measured_ms=round(latency, 6))
            for total, latency in zip(sums.tolist(), measured.tolist(), strict=True)
        ],
        loo_mape=None if errors is None else round(float(errors.mean()), 4),
        loo_p90=None if errors is None else round(upper_error(errors), 4),
    )


def _leave_one_out_error(sums: np.ndarray, measured: np.ndarray) -> float:
    return float(np.abs(leave_one_out(sums, measured)).mean()) if len(sums) > 1 else 0.0
