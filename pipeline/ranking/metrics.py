"""How well one-shot scores order architectures as the truth does, with ties counted and intervals drawn.

Three figures of the same pairs of architectures:

- Kendall's tau-b: (concordant - discordant) / sqrt(pairs untied in the scores x pairs untied in the truth).
- Spearman's rank correlation, equal values sharing their mean rank.
- Pairwise accuracy: of the pairs that the truth orders, the share that the scores order alike; a tie of the scores
  counts one half, as a coin toss would. That is (1 + Somers' D) / 2, and without ties (1 + tau) / 2. Balanced NAO's own
  code counts pairs i < j with (a_i >= a_j and b_i >= b_j) or (a_i < a_j and b_i < b_j), which on ties depends on the
  order in which architectures are listed; this one does not.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from typing import Any, cast

import numpy as np
from scipy import stats

FIGURES = ("tau_b", "spearman", "pairwise_accuracy")


@dataclass(frozen=True, slots=True)
class Agreement:
    """The three figures; nan where they do not exist, because one side has no order at all."""

    tau_b: float
    spearman: float
    pairwise_accuracy: float


@dataclass(frozen=True, slots=True)
class Pairs:
    """What the pairs of n architectures are made of."""

    pairs: int
    concordant: int
    discordant: int
    tied_scores: int
    tied_truth: int
    tied_both: int


def agreement(scores: np.ndarray, truth: np.ndarray) -> Agreement:
    """The three figures of scores `[n]` against true values `[n]`."""
    if len(scores) < 2 or np.ptp(scores) == 0 or np.ptp(truth) == 0:
        return Agreement(float("nan"), float("nan"), 0.5 if len(truth) > 1 and np.ptp(truth) > 0 else float("nan"))
    tau = float(cast(Any, stats.kendalltau(scores, truth)).statistic)
    rho = float(np.corrcoef(stats.rankdata(scores), stats.rankdata(truth))[0, 1])
    every = len(scores) * (len(scores) - 1) / 2
    somers_d = tau * np.sqrt((every - _tied(scores)) / (every - _tied(truth)))
    return Agreement(tau, rho, float(1 + somers_d) / 2)


def count_pairs(scores: np.ndarray, truth: np.ndarray) -> Pairs:
    """All pairs of architectures, by whether the two sides agree on them."""
    _, score_classes = np.unique(scores, return_inverse=True)
    _, truth_classes = np.unique(truth, return_inverse=True)
    every = len(scores) * (len(scores) - 1) // 2
    both = _tied(score_classes.astype(np.int64) * (len(truth) + 1) + truth_classes)
    tied_scores, tied_truth = _tied(scores), _tied(truth)
    ordered = every - tied_scores - tied_truth + both
    tau = agreement(scores, truth).tau_b
    surplus = 0 if np.isnan(tau) else round(tau * np.sqrt(float(every - tied_scores) * float(every - tied_truth)))
    concordant = (ordered + surplus) // 2
    return Pairs(every, concordant, ordered - concordant, tied_scores, tied_truth, both)


def _tied(values: np.ndarray) -> int:
    """Pairs of equal values."""
    counts = np.unique(values, return_counts=True)[1].astype(np.int64)
    return int((counts * (counts - 1) // 2).sum())


def percentile_intervals(draws: Sequence[Agreement], confidence: float) -> dict[str, tuple[float, float]]:
    """The central share of bootstrap draws for each figure; draws in which a figure does not exist are left out."""
    tail = 100 * (1 - confidence) / 2
    intervals: dict[str, tuple[float, float]] = {}
    for name in FIGURES:
        values = np.array([getattr(draw, name) for draw in draws])
        values = values[~np.isnan(values)]
        low, high = np.percentile(values, [tail, 100 - tail]) if values.size else (np.nan, np.nan)
        intervals[name] = (float(low), float(high))
    return intervals


def bootstrap(
    draw: Callable[[np.random.Generator], Agreement], resamples: int, confidence: float, seed: int
) -> dict[str, tuple[float, float]]:
    """Percentile intervals of whatever `draw` resamples."""
    rng = np.random.default_rng(seed)
    return percentile_intervals([draw(rng) for _ in range(resamples)], confidence)


def certify(
    scores: np.ndarray, truth: np.ndarray, *, resamples: int, confidence: float = 0.95, seed: int = 0
) -> dict[str, Any]:
    """The figures with percentile bootstrap intervals over architectures, and the pairs they come from.

    An architecture that a resample draws twice is tied with itself on both sides, and such pairs count in none of the
    figures.

    Args:
        scores: one-shot scores `[n]`.
        truth: true values of the same architectures `[n]`.
        resamples: of the bootstrap.
        confidence: share of the draws inside an interval.
        seed: of the bootstrap.

    Returns:
        JSON values: `n`, `pairs` (counts), and for each figure `value`, `low`, `high`, None where it does not exist.
    """
    scores, truth = np.asarray(scores, dtype=float), np.asarray(truth, dtype=float)
    values = agreement(scores, truth)

    def draw(rng: np.random.Generator) -> Agreement:
        chosen = rng.integers(len(scores), size=len(scores))
        return agreement(scores[chosen], truth[chosen])

    intervals = bootstrap(draw, resamples, confidence, seed)
    return {
        "n": len(scores),
        **{name: interval_of(getattr(values, name), intervals[name]) for name in FIGURES},
        "pairs": asdict(count_pairs(scores, truth)),
    }


def interval_of(value: float, interval: tuple[float, float]) -> dict[str, float | None]:
    """A figure beside its interval, as JSON values."""
    shown = {"value": value, "low": interval[0], "high": interval[1]}
    return {key: None if np.isnan(number) else round(number, 4) + 0.0 for key, number in shown.items()}
