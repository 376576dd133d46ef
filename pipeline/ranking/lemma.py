"""Lemma 2.1 of FairNAS: how likely uniform sampling treats all choice blocks of a layer equally often."""

from __future__ import annotations

import numpy as np
from scipy.special import gammaln


def probability_of_equal_counts(choices: int, trials: np.ndarray) -> np.ndarray:
    """f(m, n) of Equation 2: the probability that n uniform trials draw each of m blocks exactly n / m times.

    The factorials are summed as logarithms, so that a million trials are no problem. (The product of binomials that the
    paper prints before its closed form should begin with C(n, n/m); the closed form is right.)

    Args:
        choices: m, at least 2.
        trials: n, positive multiples of m, `[k]`.

    Returns:
        Probabilities `[k]`.

    Raises:
        ValueError: a number of trials that m does not divide.
    """
    trials = np.asarray(trials, dtype=np.int64)
    if choices < 2 or (trials < 1).any() or (trials % choices).any():
        raise ValueError(f"trials must be positive multiples of {choices} choices, and choices at least 2")
    each = trials // choices
    return np.exp(gammaln(trials + 1) - choices * gammaln(each + 1) - trials * np.log(choices))


def stirling_approximation(choices: int, trials: np.ndarray) -> np.ndarray:
    """The limit of Equation 3, by Stirling's formula: sqrt(m) / (2 pi n / m)^((m - 1) / 2), `[k]`."""
    return np.sqrt(choices) / (2 * np.pi * np.asarray(trials) / choices) ** ((choices - 1) / 2)


def trials_up_to(choices: int, most: int, points: int = 60) -> np.ndarray:
    """Multiples of m from m to `most`, spaced evenly on a logarithmic axis."""
    multiples = np.geomspace(1, most // choices, points).round().astype(np.int64)
    return np.unique(multiples) * choices
