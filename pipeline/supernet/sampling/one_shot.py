"""One-Shot (Bender et al. 2018): all paths at once."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from ....models import Space
from ..step import SampledPath
from .interface import RandomSampling

if TYPE_CHECKING:
    from ..settings import SupernetConfig


class OneShotSampling(RandomSampling):
    """All candidates of a layer are computed and averaged; each is dropped at random, more and more often.

    A candidate's chance to be dropped rises linearly from 0 to `dropout ** (1 / choices)`; one that would leave its
    layer empty is drawn again. Bender et al. sum the candidates' outputs. Here their mean is taken, so that the next
    layer sees the same scale when a single path is scored.

    Args:
        genes: number of choices of each layer.
        seed: of the generator.
        dropout: the chance that all candidates of a layer were dropped, at the end of training.
        backward_passes: budget of the training; fixes the number of updates that the schedule spans.
    """

    def __init__(self, genes: Sequence[int], seed: int, dropout: float, backward_passes: int) -> None:
        super().__init__(genes, seed)
        self._last_rates = np.array([dropout ** (1 / count) for count in genes])[:, None]
        self._real = np.arange(max(genes)) < np.array(genes)[:, None]
        # Weighted by how many layers have that many choices: a mean over layers would round where all are alike.
        shares = {count: self.genes.count(count) / len(genes) for count in dict.fromkeys(genes)}
        self.passes = sum(share * _mean_kept(count, dropout) for count, share in shares.items())
        self._updates = max(1, int(backward_passes / self.passes))
        self._done = 0

    def sample(self) -> list[SampledPath]:
        """One path that takes a set of choices in every layer."""
        rates = self._last_rates * min(1.0, self._done / max(1, self._updates - 1))
        self._done += 1
        kept = (self._rng.random(self._real.shape) >= rates) & self._real
        while (empty := ~kept.any(axis=1)).any():
            drawn = self._rng.random((int(empty.sum()), self._real.shape[1]))
            kept[empty] = (drawn >= rates[empty]) & self._real[empty]
        return [[tuple(np.flatnonzero(row).tolist()) for row in kept]]

    def state(self) -> dict[str, Any]:
        """The generator's state and the place in the schedule."""
        return {"rng": super().state(), "done": self._done}

    def load_state(self, state: dict[str, Any]) -> None:
        """Go on from a saved state."""
        super().load_state(state["rng"])
        self._done = state["done"]


def _mean_kept(choices: int, dropout: float) -> float:
    """Candidates of a layer that are kept on average over the whole training."""
    return float(np.mean([_expected_kept(choices, rate) for rate in np.linspace(0, dropout ** (1 / choices), 101)]))


def _expected_kept(choices: int, rate: float) -> float:
    """Candidates that are kept on average, when drawing none is drawn again."""
    return choices * (1 - rate) / (1 - rate**choices)


def make(settings: SupernetConfig, space: Space, num_classes: int, seed: int, backward_passes: int) -> OneShotSampling:
    """As `make_sampling`."""
    return OneShotSampling(space.genes, seed, settings.path_dropout, backward_passes)
