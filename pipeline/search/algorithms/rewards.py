"""What the controller is rewarded with for a child, where several objectives count."""

from __future__ import annotations

from collections.abc import Callable

import moocore
import numpy as np

Reward = Callable[[np.ndarray, np.ndarray, np.ndarray], np.ndarray]
"""From `order` `[m]` (best first), objectives `[m, k]` and violations `[m]` to rewards `[m]`."""


def rank_reward(order: np.ndarray, objectives: np.ndarray, violations: np.ndarray) -> np.ndarray:
    """Share of survivors and children that are less fit: 1 for the best, 0 for the worst.

    It is NSGA-II's own judgement, infeasible ones included, and needs no scale of the objectives.
    """
    rewards = np.empty(len(order))
    rewards[order] = np.linspace(1, 0, len(order))
    return rewards


def hypervolume_reward(order: np.ndarray, objectives: np.ndarray, violations: np.ndarray) -> np.ndarray:
    """The hypervolume that would be lost without it, relative to the largest such loss; 0 for infeasible ones.

    Objectives are scaled to 0..1 over survivors and children; the reference point is 1.1 in each.
    """
    rewards = np.zeros(len(order))
    feasible = np.flatnonzero(violations <= 0)
    if len(feasible):
        points = objectives[feasible]
        low, span = points.min(axis=0), np.ptp(points, axis=0)
        scaled = (points - low) / np.where(span > 0, span, 1)
        contributions = np.asarray(moocore.hv_contributions(scaled, ref=np.full(points.shape[1], 1.1)))
        rewards[feasible] = contributions / max(contributions.max(), np.finfo(float).tiny)
    return rewards


REWARDS: dict[str, Reward] = {"rank": rank_reward, "hypervolume": hypervolume_reward}
