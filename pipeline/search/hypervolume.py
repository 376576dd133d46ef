"""Hypervolume of everything that a search has found, as it grew (Zitzler & Thiele 1998)."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from pymoo.indicators.hv import HV
from pymoo.util.nds.non_dominated_sorting import find_non_dominated

REFERENCE = 1.1
"""Of each scaled objective: a little beyond the nadir, so that the ends of a front count."""


def archive_hypervolumes(points: np.ndarray, ends: Sequence[int], ideal: np.ndarray, nadir: np.ndarray) -> list[float]:
    """Hypervolume of the first `end` points, for each end.

    Args:
        points: `[n, objectives]`, minimised, in the order found.
        ends: rising numbers of points.
        ideal: `[objectives]`, becomes 0.
        nadir: `[objectives]`, becomes 1; what lies beyond 1.1 counts nothing.
    """
    scaled = (points - ideal) / np.where(nadir > ideal, nadir - ideal, 1)
    indicator = HV(ref_point=np.full(points.shape[1], REFERENCE))
    front, hypervolumes, start = scaled[:0], list[float](), 0
    for end in ends:
        # What the front dominates never counts again.
        front = np.concatenate([front, scaled[start:end]])
        front, start = front[find_non_dominated(front)], end
        hypervolumes.append(float(indicator(front) or 0.0) if len(front) else 0.0)
    return hypervolumes
