"""A table of a new device from another device's and a few timings: warm start instead of measuring everything.

A block that is slow on one device is slow on another, but not by one ratio for all: caches, vector units and runtimes
favour some blocks. The logarithm of the ratio is therefore a smooth function of the known price and of physical
features, learned from the timings: a Gaussian process with a linear and a local part, each as strong as the timings
make likely. With few timings or a constant ratio both parts fade, and the ratio alone remains.
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
from sklearn.cluster import KMeans
from sklearn.exceptions import ConvergenceWarning
from sklearn.gaussian_process import GaussianProcessRegressor
from sklearn.gaussian_process.kernels import RBF, ConstantKernel, DotProduct, WhiteKernel
from sklearn.preprocessing import StandardScaler

from ..models import Block
from .block_features import block_features, hidden_elements
from .block_models import block_model
from .calibration import upper_error
from .device import Device, OnnxModel
from .errors import LatencyError
from .measuring import Progress, Rounds, measure
from .predictor import Predictor
from .runtimes.quantize import quantized
from .table import SCHEMA_VERSION, LatencyTable
from .table_parts import BlockLatency, Precision, Validation

LEAST_TIMINGS = 4
"""With fewer, leaving one out says nothing."""


def scaled_table(
    base: LatencyTable,
    device: Device,
    blocks: Sequence[Block],
    timings: int,
    rounds: Rounds | None = None,
    *,
    precision: Precision | None = None,
    journal: Path | None = None,
    progress: Progress | None = None,
) -> LatencyTable:
    """Time a few blocks on a device and scale another device's table to the rest.

    Args:
        base: prices every block, on another device, runtime or precision.
        device: the new device.
        blocks: what the new table prices; blocks of equal signature once.
        timings: how many of them are timed.
        rounds: how often each of those is timed.
        precision: of what is timed; the base's where None.
        journal: the file of raw samples; see `measure`.
        progress: called after every sample.

    Returns:
        A table of kind `scaled`: timed blocks as they were measured, all others scaled and with `rounds` 0. Its
        `validation` holds the errors of each timed block as priced from the other timings.

    Raises:
        LatencyError: there are too few blocks or timings, the base lacks a block, or the device cannot measure one.
    """
    distinct = list({block.signature: block for block in blocks}.values())
    if not LEAST_TIMINGS <= timings < len(distinct):
        raise LatencyError(
            f"cannot scale {len(distinct)} blocks by {timings} timings: ask for {LEAST_TIMINGS} to "
            f"{len(distinct) - 1}, or measure them all with `fairnas profile`"
        )
    predictor = Predictor(base)
    predictor.check_covers(distinct)
    base_ms = np.array([predictor.price(block).latency_ms for block in distinct])
    precision = precision or base.precision
    points = block_points(distinct, base_ms)
    chosen = spread_choice(points, timings)
    models = {distinct[place].signature: _content(distinct[place], precision) for place in chosen}
    timed = measure(device, models, rounds, precision=precision, journal=journal, progress=progress)
    warm_ms = np.array([timed[name].latency_ms for name in models])
    cold_ms = np.array([timed[name].cold_ms for name in models])
    errors = np.abs(leave_one_out(points, base_ms, chosen, warm_ms))
    fingerprint = device.fingerprint()
    return LatencyTable(
        schema_version=SCHEMA_VERSION,
        name=device.id,
        kind="scaled",
        device=fingerprint,
        runtime=str(fingerprint["runtime"]),
        precision=precision,
        created=datetime.now(UTC).isoformat(timespec="seconds"),
        source=f"{timings} of {len(distinct)} blocks measured alone on {fingerprint['name']}, the others scaled from "
        f"table {base.name} ({base.device['name']}, {base.runtime}; sha256 {base.checksum()})",
        validation=Validation(
            by="timed blocks, each scaled by the other timings",
            n=timings,
            loo_mape=round(float(errors.mean()), 4),
            loo_p90=round(upper_error(errors), 4),
            sum_error=_sum_error(base),
        ),
        blocks=_entries(
            distinct,
            timed,
            scale(points, base_ms, chosen, warm_ms).tolist(),
            scale(points, base_ms, chosen, cold_ms).tolist(),
        ),
    )


def _sum_error(base: LatencyTable) -> float | None:
    """The largest difference between whole networks and the sums of their blocks, relative; None where none is known.

    The new device is taken to be no worse: its blocks are timed alone, and no network of it.
    """
    if base.calibration is None:
        return None
    return round(max(abs(pair.measured_ms / pair.sum_ms - 1) for pair in base.calibration.networks), 4)


def block_points(blocks: Sequence[Block], base_ms: np.ndarray) -> np.ndarray:
    """Blocks as points `[n, features]`, each feature with mean 0 and standard deviation 1 (0 where all are equal)."""
    terms = [[math.log(price), *_terms(block)] for block, price in zip(blocks, base_ms.tolist(), strict=True)]
    return StandardScaler().fit_transform(np.array(terms))


def spread_choice(points: np.ndarray, count: int, seed: int = 0) -> np.ndarray:
    """Indices `[count]`, rising, of points that represent all: the one nearest the centre of each of `count` clusters.

    Args:
        points: `[n, features]`, of comparable scale.
        count: at most n.
        seed: where the clusters begin.
    """
    clusters = KMeans(count, random_state=seed)
    labels = clusters.fit_predict(points)
    distances = clusters.transform(points)
    # A cluster's own member, so that no point is chosen twice; equal points can leave a cluster empty.
    own = np.where(labels[:, None] == np.arange(count), distances, np.inf)
    nearest = [int(np.argmin(column)) for column in own.T if np.isfinite(column).any()]
    missing = count - len(nearest)
    others = np.setdiff1d(np.arange(len(points)), nearest)
    return np.sort([*nearest, *np.random.default_rng(seed).choice(others, missing, replace=False)]).astype(int)


def scale(points: np.ndarray, base_ms: np.ndarray, timed: np.ndarray, measured_ms: np.ndarray) -> np.ndarray:
    """Latencies `[n]` in ms on the new device, of timed blocks too.

    Args:
        points: `[n, features]`, see `block_points`.
        base_ms: `[n]`, prices on the known device.
        timed: `[t]`, indices of the timed blocks.
        measured_ms: `[t]`, what they took on the new device.
    """
    strengths = (0.1 * DotProduct(1.0, "fixed")) + (ConstantKernel(0.1) * RBF(3.0)) + WhiteKernel(0.01)
    process = GaussianProcessRegressor(strengths, normalize_y=True)
    with warnings.catch_warnings():
        # A strength at the end of its range only says that its part is not needed.
        warnings.simplefilter("ignore", ConvergenceWarning)
        process.fit(points[timed], np.log(measured_ms / base_ms[timed]))
    return base_ms * np.exp(process.predict(points))


def leave_one_out(points: np.ndarray, base_ms: np.ndarray, timed: np.ndarray, measured_ms: np.ndarray) -> np.ndarray:
    """Relative errors `[t]`, signed, of each timed block as scaled by all other timings, strengths included."""
    errors = np.empty(len(timed))
    for place, block in enumerate(timed):
        others = np.arange(len(timed)) != place
        errors[place] = scale(points, base_ms, timed[others], measured_ms[others])[block] / measured_ms[place] - 1
    return errors


def _terms(block: Block) -> list[float]:
    """What makes a block faster on one device than on another."""
    cost = block.cost
    return [
        block_features(block)["depthwise_madds"] / cost.madds,
        math.log(block.resolution),
        math.log(block.kernel),
        math.log(hidden_elements(block)),
        math.log(cost.params),
        math.log(cost.madds),
        block.kind == "mbconv",
        block.stride > 1,
        block.has_skip,
        block.squeeze_channels > 0,
    ]


def _entries(
    blocks: Sequence[Block], timed: Mapping[str, BlockLatency], warm_ms: Sequence[float], cold_ms: Sequence[float]
) -> dict[str, BlockLatency]:
    entries: dict[str, BlockLatency] = {}
    for block, warm, cold in zip(blocks, warm_ms, cold_ms, strict=True):
        price = round(warm, 6)
        entries[block.signature] = timed.get(block.signature) or BlockLatency(
            latency_ms=price, cold_ms=round(cold, 6), median_ms=price, p90_ms=price, rounds=0
        )
    return entries


def _content(block: Block, precision: Precision) -> OnnxModel:
    model = block_model(block)
    return (model if precision == "fp32" else quantized(model)).SerializeToString()
