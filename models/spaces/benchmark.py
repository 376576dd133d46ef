"""Spaces of benchmarks, whose networks were all trained by others.

They show how well a supernet ranks, against known accuracies. Their networks are too small to deploy, so they have a
cost but no blocks to time.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from math import prod
from typing import TYPE_CHECKING, ClassVar, Self

import numpy as np

from ..architecture import Architecture
from ..blocks import Cost
from ..genes import draw_values

if TYPE_CHECKING:
    from ..supernet import AnySupernet


class BenchmarkSpace(ABC):
    """`len(choices)` candidates in each of `len(layers)` places, unless `genes` says otherwise.

    Args:
        channels: width of the network, in its narrowest stage (NAS-Bench-201) or its stem (NAS-Bench-Macro).
        width: multiplier of every channel count that `channels` already holds.
    """

    name: str
    description: str
    layers: tuple[str, ...]
    choices: tuple[str, ...]

    is_deployable: ClassVar[bool] = False
    has_aligned_init: ClassVar[bool] = False
    can_be_shortened: ClassVar[bool] = False

    def __init__(self, channels: int, width: float = 1.0) -> None:
        self.channels, self.width = channels, width

    @property
    def genes(self) -> tuple[int, ...]:
        """Number of choices of each place: the first of `choices`."""
        return (len(self.choices),) * len(self.layers)

    @property
    def size(self) -> int:
        """Number of architectures."""
        return prod(self.genes)

    def scaled(self, width: float) -> Self:
        """The same space with every channel count multiplied by `width`."""
        return type(self)(max(1, round(self.channels * width / self.width)), width)

    def architecture(self, choices: Sequence[int]) -> Architecture:
        """The architecture that takes `choices[l]` in place l."""
        return Architecture(self.name, tuple(int(c) for c in choices))

    def uniform(self, choice: int | str) -> Architecture:
        """The architecture that takes the same choice (an index or a name) in every place."""
        index = self.choices.index(choice) if isinstance(choice, str) else choice
        return self.architecture([index] * len(self.layers))

    def sample(self, rng: np.random.Generator) -> Architecture:
        """One architecture, uniformly at random."""
        return self.architecture(draw_values(self.genes, rng).tolist())

    def from_digits(self, digits: str) -> Architecture:
        """The architecture that a benchmark's file calls by one digit per place.

        Raises:
            ValueError: not as many digits as places, or a digit that is no choice.
        """
        if len(digits) != len(self.layers) or not digits.isdecimal() or max(map(int, digits)) >= len(self.choices):
            raise ValueError(
                f"'{digits}' is not an architecture of {self.name}: expected {len(self.layers)} digits from 0 to "
                f"{len(self.choices) - 1}"
            )
        return self.architecture([int(digit) for digit in digits])

    def from_table(self, text: str) -> Architecture:
        """As `from_digits`, which the tables of benchmarks use."""
        return self.from_digits(text)

    def check_resolution(self, resolution: int) -> None:  # noqa: B027
        """Any resolution will do."""

    def shortened(self, cells: int) -> Self:
        """The same space with fewer cells per stage: a supernet of such networks trains faster.

        Raises:
            ValueError: it has no such variants.
        """
        raise ValueError(f"space {self.name} has no cells")

    def is_connected(self, architecture: Architecture) -> bool:
        """Whether anything of a network's input reaches its output."""
        return True

    @abstractmethod
    def supernet(self, num_classes: int) -> AnySupernet:
        """An untrained supernet, for images of three channels."""

    @abstractmethod
    def cost(self, architecture: Architecture, resolution: int = 32, num_classes: int = 10) -> Cost:
        """Exact parameters and multiply-adds of a network, by arithmetic alone."""
