"""The ledger that proves what was trained how often."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from ..step import SampledPath


class FairnessLedger:
    """How often every choice block was activated, and whether all counts were equal after every update.

    Args:
        genes: number of choices of each layer. Where it differs, counts are equal that are the same share of a layer's.

    Attributes:
        counts: `[layers, choices]`, 0 for choices that a layer does not have.
    """

    def __init__(self, genes: Sequence[int]) -> None:
        self.genes = tuple(genes)
        self.counts = np.zeros((len(genes), max(genes)), dtype=np.int64)
        self._real = np.arange(max(genes)) < np.array(genes)[:, None]
        self.steps = 0
        self.equal_after_every_step = True

    @property
    def backward_passes(self) -> float:
        """Single-path backward passes, those over several candidates counted by the candidates that they computed."""
        return float(self.counts.sum() / len(self.counts))

    def record(self, paths: Sequence[SampledPath]) -> None:
        """Count one update's paths."""
        layers = np.arange(len(self.counts))
        for path in paths:
            if all(isinstance(choice, int) for choice in path):
                self.counts[layers, path] += 1
            else:
                for layer, chosen in enumerate(path):
                    self.counts[layer, chosen] += 1
        self.steps += 1
        shares = (self.counts * np.array(self.genes)[:, None])[self._real]
        self.equal_after_every_step &= bool((shares == shares[0]).all())

    def state(self) -> dict[str, Any]:
        """Everything, as plain values."""
        return {
            "counts": [row[:count].tolist() for row, count in zip(self.counts, self.genes, strict=True)],
            "steps": self.steps,
            "equal_after_every_step": self.equal_after_every_step,
        }

    def load_state(self, state: dict[str, Any]) -> None:
        """Go on from a saved state."""
        self.counts[self._real] = np.concatenate(state["counts"])
        self.steps = state["steps"]
        self.equal_after_every_step = state["equal_after_every_step"]
