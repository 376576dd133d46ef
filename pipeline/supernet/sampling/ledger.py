"""The ledger that proves what was trained how often."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from ..step import SampledPath


class FairnessLedger:
    """How often every choice block was activated, and whether all counts were equal after every update."""

    def __init__(self, layers: int, choices: int) -> None:
        self.counts = np.zeros((layers, choices), dtype=np.int64)
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
        self.equal_after_every_step &= bool((self.counts == self.counts.flat[0]).all())

    def state(self) -> dict[str, Any]:
        """Everything, as plain values."""
        return {
            "counts": self.counts.tolist(),
            "steps": self.steps,
            "equal_after_every_step": self.equal_after_every_step,
        }

    def load_state(self, state: dict[str, Any]) -> None:
        """Go on from a saved state."""
        self.counts = np.array(state["counts"], dtype=np.int64)
        self.steps = state["steps"]
        self.equal_after_every_step = state["equal_after_every_step"]
