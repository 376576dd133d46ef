"""Fits of latencies to features, judged on blocks that they have not seen.

Coefficients are not negative, so prices stay positive and grow with kernel, expansion and resolution; this also keeps
many features from fitting noise. They minimise the mean absolute relative error (a linear programme): a single odd
measurement moves them less than squared errors would allow.
"""

from __future__ import annotations

from collections.abc import Hashable, Sequence

import numpy as np
from scipy.optimize import linprog

_LEAST_GAIN = 5e-4  # of the mean relative error; a feature that helps less is left out


def fit_coefficients(design: np.ndarray, latencies: np.ndarray) -> np.ndarray:
    """Coefficients of least mean absolute relative error, none negative.

    Args:
        design: features `[n, features]`.
        latencies: ms `[n]`, positive.

    Returns:
        ms per unit `[features]`; 0 for a feature that nothing has.
    """
    relative = design / latencies[:, None]
    # The solver wants columns of similar size; a column of zeros keeps coefficient 0.
    scale = np.abs(relative).max(axis=0)
    scale[scale == 0] = np.inf
    # The dual programme, whose constraints are as few as the features: 20 times faster with 1,600 measurements. Its
    # variables say how far each measurement pulls, its multipliers are the coefficients.
    result = linprog(
        -np.ones(len(latencies)),
        A_ub=(relative / scale).T,
        b_ub=np.zeros(design.shape[1]),
        bounds=(-1, 1),
        method="highs",
    )
    return np.maximum(-result.ineqlin.marginals, 0) / scale


def cross_validate(design: np.ndarray, latencies: np.ndarray, groups: Sequence[Hashable]) -> np.ndarray:
    """Signed relative errors `[n]` of each measurement as priced by a fit to all other groups.

    Args:
        design: features `[n, features]`.
        latencies: ms `[n]`.
        groups: what is held out together has the same one `[n]`.
    """
    errors = np.empty(len(latencies))
    for inside in _each_group(groups):
        errors[inside] = _held_out_errors(design, latencies, inside)
    return errors


def nested_cross_validate(design: np.ndarray, latencies: np.ndarray, groups: Sequence[Hashable]) -> np.ndarray:
    """The same where the features, too, are chosen without the group that is then predicted.

    An error that chose something flatters; this one chose nothing.

    Args:
        design: all candidates `[n, candidates]`.
        latencies: ms `[n]`.
        groups: what is held out together has the same one `[n]`.
    """
    errors = np.empty(len(latencies))
    for inside in _each_group(groups):
        others = [group for group, held_out in zip(groups, inside, strict=True) if not held_out]
        chosen = choose_features(design[~inside], latencies[~inside], others)
        errors[inside] = _held_out_errors(design[:, chosen], latencies, inside)
    return errors


def choose_features(design: np.ndarray, latencies: np.ndarray, groups: Sequence[Hashable]) -> list[int]:
    """The columns of least grouped error: the best single addition or removal, until none helps.

    Args:
        design: all candidates `[n, candidates]`.
        latencies: ms `[n]`.
        groups: what is held out together has the same one `[n]`.
    """
    errors: dict[tuple[int, ...], float] = {}

    def error(columns: tuple[int, ...]) -> float:
        if columns not in errors:
            errors[columns] = float(np.abs(cross_validate(design[:, columns], latencies, groups)).mean())
        return errors[columns]

    chosen: tuple[int, ...] = ()
    least = np.inf
    while True:
        best = min(_moves(chosen, design.shape[1]), key=error)
        if error(best) > least - _LEAST_GAIN:
            return list(chosen)
        chosen, least = best, error(best)


def _moves(chosen: tuple[int, ...], columns: int) -> list[tuple[int, ...]]:
    additions = [tuple(sorted((*chosen, column))) for column in range(columns) if column not in chosen]
    removals = [tuple(kept for kept in chosen if kept != column) for column in chosen]
    return [move for move in [*additions, *removals] if move]


def _held_out_errors(design: np.ndarray, latencies: np.ndarray, inside: np.ndarray) -> np.ndarray:
    coefficients = fit_coefficients(design[~inside], latencies[~inside])
    return design[inside] @ coefficients / latencies[inside] - 1


def _each_group(groups: Sequence[Hashable]) -> list[np.ndarray]:
    return [np.array([other == group for other in groups]) for group in dict.fromkeys(groups)]
