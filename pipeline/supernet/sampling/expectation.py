"""Fairness in expectation only (Definition 2.2): every choice is as likely as every other, one path at a time."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from ....models import Space
from ..step import SampledPath
from .interface import RandomSampling

if TYPE_CHECKING:
    from ..settings import SupernetConfig


class ExpectationFairSampling(RandomSampling):
    """The paper's baselines EF: one uniform path is trained k times before its weights are updated (sec. 5.1).

    Every one of the k passes has a batch of its own; on the same batch they would be one pass, k times as strong.

    Args:
        genes: number of choices of each layer.
        seed: of the generator.
        passes: k; 6 in the paper.
        scaled: whether the learning rate is divided by k, the paper's second variant.
    """

    def __init__(self, genes: Sequence[int], seed: int, passes: int, scaled: bool) -> None:
        super().__init__(genes, seed)
        self.passes = self.batches = passes
        self.lr_factor = 1 / passes if scaled else 1.0

    def sample(self) -> list[SampledPath]:
        """The same path k times."""
        return [self._uniform_path()] * self.batches


def make(
    settings: SupernetConfig, space: Space, num_classes: int, seed: int, backward_passes: int
) -> ExpectationFairSampling:
    """As `make_sampling`."""
    return ExpectationFairSampling(space.genes, seed, settings.expectation_passes, scaled=False)


def make_scaled(
    settings: SupernetConfig, space: Space, num_classes: int, seed: int, backward_passes: int
) -> ExpectationFairSampling:
    """As `make_sampling`."""
    return ExpectationFairSampling(space.genes, seed, settings.expectation_passes, scaled=True)
