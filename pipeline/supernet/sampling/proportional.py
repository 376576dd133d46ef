"""Proportional to model size (Balanced NAO)."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from ....models import Space
from ..step import SampledPath
from .interface import RandomSampling

if TYPE_CHECKING:
    from ..settings import SupernetConfig


class ProportionalSampling(RandomSampling):
    """One path per update, as likely as its stand-alone network has parameters (Balanced NAO, sec. 3.2).

    Larger networks need more training, so they get more. As Balanced NAO does, paths come from a pool of random
    architectures; in a mobile space, where all are of much the same size, this is nearly uniform.

    Args:
        space: at the width that is trained.
        seed: of the generator, and of the pool.
        pool: architectures in the pool; Balanced NAO has 1,000.
        num_classes: the classifier's parameters count too.
    """

    def __init__(self, space: Space, seed: int, pool: int, num_classes: int) -> None:
        super().__init__(space.genes, seed)
        architectures = list(dict.fromkeys(space.sample(self._rng) for _ in range(pool)))
        self.pool = [list(architecture.choices) for architecture in architectures]
        sizes = np.array([space.cost(a, num_classes=num_classes).params for a in architectures], dtype=np.float64)
        self.probabilities = sizes / sizes.sum()

    def sample(self) -> list[SampledPath]:
        """One path of the pool."""
        return [self.pool[self._rng.choice(len(self.pool), p=self.probabilities)]]


def make(
    settings: SupernetConfig, space: Space, num_classes: int, seed: int, backward_passes: int
) -> ProportionalSampling:
    """As `make_sampling`."""
    return ProportionalSampling(space, seed, settings.proportional_pool, num_classes)
