"""What choosing by one-shot score is worth: the true accuracy that it finds, beside random search at equal budget."""

from __future__ import annotations

from typing import Any

import numpy as np
from scipy.special import gammaln


def selection(scores: np.ndarray, truth: np.ndarray, tops: tuple[int, ...] = (1, 5)) -> dict[str, Any]:
    """What the best by score turn out to be, beside as many drawn at random.

    Random search at equal budget scores the same architectures; with nothing to rank them by, those that it trains are
    any of them. All its figures are exact expectations over such draws, not simulations.

    Args:
        scores: one-shot scores `[n]`.
        truth: true accuracies `[n]`.
        tops: how many of the best are trained.

    Returns:
        `top`: for each k the best true accuracy among the k best by score (`oneshot`), its rank among all n (1 is best)
        and its regret against the best of all, and the same accuracy and regret for k drawn at random (`random`).
        `budget`: the expected true accuracy of the best by score of b architectures drawn at random, of a random one of
        them, and of the truly best of them, for growing b.
    """
    best = float(truth.max())
    rows = []
    for k in (k for k in tops if k <= len(truth)):
        chosen = expected_best_by(scores, truth, k)
        drawn = expected_maximum(truth, k)
        rows.append(
            {
                "k": k,
                "oneshot": round(chosen, 6),
                "oneshot_rank": int((truth > chosen + 1e-12).sum()) + 1,
                "oneshot_regret": round(best - chosen, 6),
                "random": round(drawn, 6),
                "random_regret": round(best - drawn, 6),
            }
        )
    budgets = np.unique(np.geomspace(1, len(truth), 24).round().astype(int)).tolist()
    return {
        "best": best,
        "top": rows,
        "budget": {
            "architectures": budgets,
            "oneshot": [round(expected_pick(scores, truth, budget), 6) for budget in budgets],
            "random": round(float(truth.mean()), 6),
            "best": [round(expected_maximum(truth, budget), 6) for budget in budgets],
        },
    }


def expected_pick(scores: np.ndarray, truth: np.ndarray, budget: int) -> float:
    """Expected true value of the one with the highest score among `budget` drawn without replacement.

    Of a group of equal scores any member is picked with the same probability, so the group counts with its mean.
    """
    groups, inverse = np.unique(-scores, return_inverse=True)  # best first
    means = np.bincount(inverse, truth, len(groups)) / np.bincount(inverse, minlength=len(groups))
    return float(_chance_of_first(budget, len(truth)) @ means[np.sort(inverse)])


def expected_maximum(truth: np.ndarray, budget: int) -> float:
    """Expected largest of `budget` values drawn without replacement."""
    return expected_pick(truth, truth, budget)


def expected_best_by(scores: np.ndarray, truth: np.ndarray, k: int) -> float:
    """Expected best true value among the k highest scores; of those tied for the last places, any may be in."""
    threshold = np.sort(scores)[-k]
    sure, tied = truth[scores > threshold], truth[scores == threshold]
    places = k - len(sure)
    if not len(sure):
        return expected_maximum(tied, places)
    return expected_maximum(np.maximum(tied, sure.max()), places)


def _chance_of_first(budget: int, n: int) -> np.ndarray:
    """For each of n values in order, the chance that it is the first of b drawn: C(n - 1 - i, b - 1) / C(n, b)."""
    behind = np.arange(n - 1, -1, -1, dtype=float)
    with np.errstate(invalid="ignore"):
        logs = gammaln(behind + 1) - gammaln(budget) - gammaln(np.maximum(behind - budget + 1, 0) + 1)
    logs -= gammaln(n + 1) - gammaln(budget + 1) - gammaln(n - budget + 1)
    return np.where(behind >= budget - 1, np.exp(logs), 0.0)
