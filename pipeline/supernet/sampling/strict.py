"""Strict fairness (FairNAS)."""

from __future__ import annotations

from collections.abc import Sequence
from math import lcm
from typing import TYPE_CHECKING

import numpy as np

from ....models import Space
from ..step import SampledPath
from .interface import RandomSampling

if TYPE_CHECKING:
    from ..settings import SupernetConfig


class StrictFairSampling(RandomSampling):
    """Uniform sampling without replacement (FairNAS, Algorithm 1): one permutation of the choices per layer.

    Path k of an update takes the k-th entry of every layer's permutation, so the m paths of an update use every choice
    block of every layer exactly once (Definition 2.3). All see the same images. Where layers differ in their number of
    choices, m is the least common multiple of these numbers, and a layer's entries are there as often as they fit.
    """

    def __init__(self, genes: Sequence[int], seed: int) -> None:
        super().__init__(genes, seed)
        self.passes = lcm(*genes)

    def sample(self) -> list[SampledPath]:
        """The m paths of one update: every layer's entries are a permutation."""
        ordered = np.arange(self.passes) % np.array(self.genes)[:, None]
        return self._rng.permuted(ordered, axis=1).T.tolist()


def make(
    settings: SupernetConfig, space: Space, num_classes: int, seed: int, backward_passes: int
) -> StrictFairSampling:
    """As `make_sampling`."""
    return StrictFairSampling(space.genes, seed)
