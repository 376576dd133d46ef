"""From blocks measured alone to whole networks: a line fitted to a few networks that are measured too.

A block that runs alone finds its weights and activations in the caches, inside a network it often does not: the slope
is above one. Each run alone also pays for starting and for bringing tensors into the runtime's own layout, which a
network pays once: the intercept is often negative, and is all that every network of one space has in common.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from ..models import Architecture, Block, SearchSpace
from .block_model import network_model
from .device import Device, OnnxModel, Progress
from .errors import LatencyError
from .predictor import Predictor
from .table import BlockLatency, Calibration, LatencyTable, NetworkLatency

# With fewer networks noise decides about the intercept.
_LEAST_FOR_INTERCEPT = 4


def calibration_networks(space: SearchSpace, count: int, se_ratio: float = 0.0) -> list[Architecture]:
    """Networks spread over a space from its smallest to its largest, always the same ones.

    Each takes an evenly growing number of steps up from the smallest choices, in layers drawn at random.
    """
    rng = np.random.default_rng(0)
    by_size = sorted(range(len(space.choices)), key=lambda index: space.cost(space.uniform(index)).madds)
    steps = np.full(len(space.layers), len(by_size) - 1)
    shares = np.linspace(0, 1, count) if count > 1 else np.full(count, 0.5)
    ranks = [rng.multivariate_hypergeometric(steps, round(share * steps.sum())) for share in shares]
    return [space.architecture([by_size[rank] for rank in row], se_ratio) for row in ranks]


def calibrate(
    device: Device,
    table: LatencyTable,
    networks: Sequence[Sequence[Block]],
    rounds: int,
    progress: Progress | None = None,
) -> LatencyTable:
    """Measure whole networks and fit `latency = intercept + slope * sum of blocks` to them.

    Args:
        device: where the table was measured.
        table: a measured table that prices every block of the networks.
        networks: the blocks of each network.
        rounds: how often each network is timed.
        progress: called after every round.

    Returns:
        The table with its `calibration`, and with `validation`: `n` networks, `bias_before` (mean relative error of the
        plain sum), and with two networks or more `loo_mape` (mean absolute relative error of each network predicted by
        a line fitted to the others).

    Raises:
        LatencyError: there is no network, the table is another device's or lacks a block, or the device cannot measure
            a network.
    """
    if not networks:
        raise LatencyError("there is no network to calibrate on")
    if device.fingerprint() != table.device:
        raise LatencyError(f"latency table {table.name} was measured on another device or runtime: measure it again")
    plain = Predictor(table.model_copy(update={"calibration": None}))
    sums = np.array([plain.predict(blocks).latency_ms for blocks in networks]).round(6)
    models: dict[str, OnnxModel] = {
        f"network {place}": network_model(blocks).SerializeToString() for place, blocks in enumerate(networks)
    }
    device.prepare()
    samples = device.measure(models, rounds, progress)
    measured = np.array([BlockLatency.of(samples[name]).latency_ms for name in models])
    intercept, slope = fit_line(sums, measured)
    pairs = zip(sums.tolist(), measured.tolist(), strict=True)
    validation: dict[str, float | int | str] = {
        "n": len(networks),
        "bias_before": round(float(np.mean(sums / measured - 1)), 4),
    }
    if len(networks) > 1:
        validation |= {
            "loo_mape": round(float(np.abs(leave_one_out(sums, measured)).mean()), 4),
            "by": "whole networks, leave-one-out",
        }
    calibration = Calibration(
        intercept_ms=round(intercept, 6),
        slope=round(slope, 6),
        networks=[NetworkLatency(sum_ms=total, measured_ms=latency) for total, latency in pairs],
    )
    return table.model_copy(update={"calibration": calibration, "validation": validation})


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
