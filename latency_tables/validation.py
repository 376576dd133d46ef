"""How far a table's predictions are from whole networks that its calibration has not seen."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from scipy.stats import rankdata

from ..models import Architecture, Block, SearchSpace
from .calibration import block_sums, upper_error
from .predictor import Predictor
from .table import LatencyTable
from .table_parts import Validation

_CANDIDATES = 2000
_RESAMPLES = 2000


def validation_networks(
    space: SearchSpace, predictor: Predictor, count: int, *, resolution: int, num_classes: int, seed: int = 0
) -> list[Architecture]:
    """Networks stratified over predicted latency: `count` equal bands between the fastest and the slowest candidate.

    Uniformly drawn networks nearly all lie in the middle, so each candidate draws its blocks with a bias of its own
    towards small or large ones. A band without a candidate gives its place to its nearest neighbours.
    """
    rng = np.random.default_rng(seed)
    by_size = sorted(range(len(space.choices)), key=lambda index: space.cost(space.uniform(index)).madds)
    candidates: dict[str, Architecture] = {}
    for lean in np.linspace(-2, 2, _CANDIDATES):
        odds = np.exp(lean * np.arange(len(by_size)))
        genome = rng.choice(by_size, size=len(space.layers), p=odds / odds.sum())
        architecture = space.architecture(genome.tolist())
        candidates.setdefault(str(architecture), architecture)
    names = list(candidates)
    latency = np.array(
        [predictor.predict(space.blocks(candidates[name], resolution, num_classes)).latency_ms for name in names]
    )
    free = np.ones(len(names), dtype=bool)
    chosen: list[Architecture] = []
    for middle in np.linspace(latency.min(), latency.max(), 2 * count + 1)[1::2]:
        index = int(np.argmin(np.where(free, np.abs(latency - middle), np.inf)))
        free[index] = False
        chosen.append(candidates[names[index]])
    return chosen


def validate(
    table: LatencyTable,
    networks: Sequence[Sequence[Block]],
    measured_ms: Sequence[float],
    again_ms: Sequence[float] | None = None,
) -> LatencyTable:
    """Compare predictions with measurements of networks that were not used for the calibration.

    Args:
        table: a measured or scaled table, calibrated or not.
        networks: the blocks of each network.
        measured_ms: what each took, in another session than the calibration's networks where there are two.
        again_ms: the same in another session: no prediction can rank better than that.

    Returns:
        The table with its `validation`.
    """
    # An earlier validation would give its own interval; what is checked is the calibration's.
    predictor = Predictor(table.model_copy(update={"validation": None}))
    measured = np.asarray(measured_ms, dtype=float)
    predictions = [predictor.predict(blocks) for blocks in networks]
    predicted = np.array([prediction.latency_ms for prediction in predictions])
    shared = np.exp(np.median(np.log(predicted / measured)))
    inside = [p.low_ms <= latency <= p.high_ms for p, latency in zip(predictions, measured_ms, strict=True)]
    errors = np.abs(predicted / measured - 1)
    sums = block_sums(table, networks)
    ceiling = gap = None
    if again_ms is not None:
        again = np.asarray(again_ms, dtype=float)
        ceiling = _spearman(measured, again)
        gap = None if ceiling is None else _gap_interval(predicted, measured, again)
    validation = Validation(
        by="whole networks that the calibration has not seen",
        n=len(networks),
        mape=round(float(errors.mean()), 4),
        p90=round(upper_error(errors), 4),
        scatter_p90=round(upper_error(np.abs(predicted / shared / measured - 1)), 4),
        within_5=round(float((errors <= 0.05).mean()), 4),
        interval_coverage=round(float(np.mean(inside)), 4),
        within_10=round(float((errors <= 0.10).mean()), 4),
        bias_before=round(float(np.mean(sums / measured - 1)), 4),
        spearman=_spearman(predicted, measured),
        remeasure_spearman=ceiling,
        spearman_gap_interval=gap,
    )
    return table.model_copy(update={"validation": validation})


def _spearman(first: np.ndarray, second: np.ndarray) -> float | None:
    """Rank correlation; None where one of them has no order: a single network, or all alike."""
    (correlation,) = _correlations(rankdata(first)[None], rankdata(second)[None])
    return None if np.isnan(correlation) else round(float(correlation), 4)


def _correlations(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    """Pearson's correlation of each row of two `[n, k]` arrays, `[n]`; nan where a row is constant."""
    first, second = (values - values.mean(axis=1, keepdims=True) for values in (first, second))
    with np.errstate(invalid="ignore"):
        return (first * second).sum(axis=1) / np.sqrt((first**2).sum(axis=1) * (second**2).sum(axis=1))


def _gap_interval(predicted: np.ndarray, measured: np.ndarray, again: np.ndarray) -> tuple[float, float] | None:
    """95% bootstrap interval, over networks, of how much better measuring again ranks than predicting does."""
    chosen = np.random.default_rng(0).integers(len(measured), size=(_RESAMPLES, len(measured)))
    predicted, measured, again = (rankdata(values[chosen], axis=1) for values in (predicted, measured, again))
    gaps = _correlations(measured, again) - _correlations(predicted, measured)
    gaps = gaps[~np.isnan(gaps)]  # few networks may all be the same one in a resample
    if not gaps.size:
        return None
    low, high = np.percentile(gaps, [2.5, 97.5])
    return round(float(low), 4), round(float(high), 4)
