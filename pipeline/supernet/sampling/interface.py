"""What every sampling is: it says which paths one update of the supernet trains, and what that costs."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Any

import numpy as np

from ....models.genes import draw_values
from ..step import SampledPath


class Sampling(ABC):
    """Draws the paths of one update after the other.

    Attributes:
        passes: backward passes of an update. Samplings are compared at equal numbers of these; a pass over several
            candidates per layer counts as many times as it computes candidates, on average.
        batches: mini-batches of an update: 1 where all paths see the same images, else one per path.
        lr_factor: what the learning rate is multiplied by.
    """

    passes: float = 1
    batches: int = 1
    lr_factor: float = 1.0

    @abstractmethod
    def sample(self) -> list[SampledPath]:
        """The paths of the next update."""

    @abstractmethod
    def state(self) -> dict[str, Any]:
        """Everything that decides later draws, as plain values."""

    @abstractmethod
    def load_state(self, state: dict[str, Any]) -> None:
        """Go on from a saved state."""


class RandomSampling(Sampling):
    """A sampling whose only state is its random generator.

    Args:
        genes: number of choices of each layer.
        seed: of the generator.
    """

    def __init__(self, genes: Sequence[int], seed: int) -> None:
        self.genes = tuple(genes)
        self._rng = np.random.default_rng(seed)

    def _uniform_path(self) -> list[int]:
        return draw_values(self.genes, self._rng).tolist()

    def state(self) -> dict[str, Any]:
        """The generator's state."""
        return dict(self._rng.bit_generator.state)

    def load_state(self, state: dict[str, Any]) -> None:
        """Go on from a saved state."""
        self._rng.bit_generator.state = state
