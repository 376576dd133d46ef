"""K architectures from a finished search, evenly spaced along its front."""

from __future__ import annotations

import numpy as np

from .algorithms.fitness import order_by_fitness


def pick_evenly(objectives: np.ndarray, violations: np.ndarray, position: np.ndarray, count: int) -> list[int]:
    """Choose up to `count` feasible indices.

    The first and last of the front and, between them, those nearest to evenly spaced positions (FairNAS, Algorithm 2).
    A front of fewer members is filled up from the next fronts.

    Args:
        objectives: `[n, objectives]`, minimised.
        violations: `[n]`, 0 when feasible; infeasible ones are never picked.
        position: `[n]`, where each lies along the axis that is spaced evenly (latency, say).
        count: how many to pick.

    Returns:
        Indices by rising position.
    """
    order, ranks = order_by_fitness(objectives, violations)
    feasible = [(index, rank) for index, rank in zip(order, ranks, strict=True) if violations[index] <= 0]
    last_rank = max((rank for _, rank in feasible[:count]), default=0)
    sure = [index for index, rank in feasible if rank < last_rank]
    candidates = [index for index, rank in feasible if rank == last_rank]
    wanted = min(count, len(feasible)) - len(sure)
    return sorted(sure + _spaced(candidates, position, wanted), key=lambda index: position[index])


def _spaced(candidates: list[int], position: np.ndarray, count: int) -> list[int]:
    if count <= 0:
        return []
    places = position[candidates]
    chosen: list[int] = []
    for goal in np.linspace(places.min(), places.max(), count) if count > 1 else [np.median(places)]:
        free = [index for index in candidates if index not in chosen]
        chosen.append(min(free, key=lambda index: (abs(position[index] - goal), index)))
    return chosen
