"""Strict fairness (FairNAS)."""

from __future__ import annotations

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
    block of every layer exactly once (Definition 2.3). All see the same images.
    """

    def __init__(self, layers: int, choices: int, seed: int) -> None:
        super().__init__(layers, choices, seed)
        self.passes = choices

    def sample(self) -> list[SampledPath]:
        """The m paths of one update: every layer's entries are a permutation."""
        ordered = np.tile(np.arange(self.choices), (self.layers, 1))
        return self._rng.permuted(ordered, axis=1).T.tolist()


def make(
    settings: SupernetConfig, space: Space, num_classes: int, seed: int, backward_passes: int
) -> StrictFairSampling:
    """As `make_sampling`."""
    return StrictFairSampling(len(space.layers), len(space.choices), seed)
