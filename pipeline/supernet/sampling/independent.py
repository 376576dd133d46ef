"""Independent paths: as many as strict fairness trains in an update, without the permutation."""

from __future__ import annotations

from collections.abc import Sequence
from math import lcm
from typing import TYPE_CHECKING

from ....models import Space
from ..step import SampledPath
from .interface import RandomSampling

if TYPE_CHECKING:
    from ..settings import SupernetConfig


class IndependentPathsSampling(RandomSampling):
    """A control that is not in the paper: m independent uniform paths on one batch, then one update.

    It updates as often as strict fairness does, from as many images; only the permutation is missing.
    """

    def __init__(self, genes: Sequence[int], seed: int) -> None:
        super().__init__(genes, seed)
        self.passes = lcm(*genes)

    def sample(self) -> list[SampledPath]:
        """The m paths of one update."""
        return [self._uniform_path() for _ in range(lcm(*self.genes))]


def make(
    settings: SupernetConfig, space: Space, num_classes: int, seed: int, backward_passes: int
) -> IndependentPathsSampling:
    """As `make_sampling`."""
    return IndependentPathsSampling(space.genes, seed)
