"""Uniform samplings: every choice is as likely as every other, which is fair in expectation only (Definition 2.2)."""

from __future__ import annotations

from ..step import SampledPath
from .interface import RandomSampling


class SinglePathSampling(RandomSampling):
    """SPOS (Guo et al. 2020, arXiv 1904.00420): one uniform path, one batch, one update."""

    def sample(self) -> list[SampledPath]:
        """One path."""
        return [self._uniform_path()]


class ExpectationFairSampling(RandomSampling):
    """The paper's baselines EF: one uniform path is trained k times before its weights are updated (sec. 5.1).

    Every one of the k passes has a batch of its own; on the same batch they would be one pass, k times as strong.

    Args:
        layers: layers of the space.
        choices: choices per layer.
        seed: of the generator.
        passes: k; 6 in the paper.
        scaled: whether the learning rate is divided by k, the paper's second variant.
    """

    def __init__(self, layers: int, choices: int, seed: int, passes: int, scaled: bool) -> None:
        super().__init__(layers, choices, seed)
        self.passes = self.batches = passes
        self.lr_factor = 1 / passes if scaled else 1.0

    def sample(self) -> list[SampledPath]:
        """The same path k times."""
        return [self._uniform_path()] * self.batches


class IndependentPathsSampling(RandomSampling):
    """A control that is not in the paper: m independent uniform paths on one batch, then one update.

    It updates as often as strict fairness does, from as many images; only the permutation is missing.
    """

    def __init__(self, layers: int, choices: int, seed: int) -> None:
        super().__init__(layers, choices, seed)
        self.passes = choices

    def sample(self) -> list[SampledPath]:
        """The m paths of one update."""
        return [self._uniform_path() for _ in range(self.choices)]
