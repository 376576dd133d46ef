"""Genes: the places of an architecture, each with a number of choices of its own."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np


def draw_values(genes: Sequence[int], rng: np.random.Generator, count: int | None = None) -> np.ndarray:
    """A value for each gene, all alike.

    Args:
        genes: number of values of each gene.
        rng: decides.
        count: of genomes; None draws one.

    Returns:
        `[genes]`, or `[count, genes]`.
    """
    return rng.integers(bounds(genes), size=len(genes) if count is None else (count, len(genes)))


def bounds(genes: Sequence[int]) -> int | np.ndarray:
    """What all values are below: one number where it is the same for all genes, else `[genes]`.

    numpy draws other numbers below a list of equal bounds than below the one bound.
    """
    return genes[0] if len(set(genes)) == 1 else np.array(genes)
