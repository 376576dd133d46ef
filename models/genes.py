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
    # Where all have as many values a single bound is drawn with: numpy's numbers for a list of bounds are other ones.
    bound = genes[0] if len(set(genes)) == 1 else np.array(genes)
    return rng.integers(bound, size=len(genes) if count is None else (count, len(genes)))
