"""Who is fitter: Deb's rule for constraints, then non-dominated rank, then crowding distance (Deb et al. 2002)."""

from __future__ import annotations

import numpy as np
from pymoo.operators.survival.rank_and_crowding.metrics import get_crowding_function
from pymoo.util.nds.non_dominated_sorting import NonDominatedSorting


def order_by_fitness(objectives: np.ndarray, violations: np.ndarray) -> tuple[list[int], list[int]]:
    """Indices from best to worst, and the rank of each index in that order.

    Feasible ones come first, by non-dominated rank and then by falling crowding distance; then the infeasible ones by
    growing violation.

    Args:
        objectives: `[n, objectives]`, minimised.
        violations: `[n]`, 0 when feasible.
    """
    feasible, infeasible = np.flatnonzero(violations <= 0), np.flatnonzero(violations > 0)
    order: list[int] = []
    ranks: list[int] = []
    fronts = NonDominatedSorting().do(objectives[feasible]) if len(feasible) else []
    crowding = get_crowding_function("cd")
    for rank, front in enumerate(fronts):
        distance = np.asarray(crowding.do(objectives[feasible[front]], n_remove=0))
        # lexsort is stable and the last key leads: distance first, then the older genome.
        best_first = feasible[front][np.lexsort([feasible[front], -distance])]
        order += best_first.tolist()
        ranks += [rank] * len(front)
    by_violation = infeasible[np.argsort(violations[infeasible], kind="stable")]
    return order + by_violation.tolist(), ranks + [len(fronts)] * len(infeasible)
