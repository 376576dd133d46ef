"""Which paths one supernet step trains, and the ledger that proves what was trained how often."""

from __future__ import annotations

from typing import Any

import numpy as np


class StrictFairSampler:
    """Uniform sampling without replacement (FairNAS, Algorithm 1): one permutation of the choices per layer.

    Path k of a step takes the k-th entry of every layer's permutation, so the m paths of a step use every choice block
    of every layer exactly once (Definition 2.3).
    """

    def __init__(self, layers: int, choices: int, seed: int) -> None:
        self.layers, self.choices = layers, choices
        self._rng = np.random.default_rng(seed)

    def sample(self) -> np.ndarray:
        """The paths of one step: choice indices `[m, layers]`, every column a permutation."""
        ordered = np.tile(np.arange(self.choices), (self.layers, 1))
        return self._rng.permuted(ordered, axis=1).T

    def state(self) -> dict[str, Any]:
        """The generator's state, as plain values."""
        return dict(self._rng.bit_generator.state)

    def load_state(self, state: dict[str, Any]) -> None:
        """Go on from a saved state."""
        self._rng.bit_generator.state = state


class FairnessLedger:
    """How often every choice block was updated, and whether all counts were equal after every step."""

    def __init__(self, layers: int, choices: int) -> None:
        self.counts = np.zeros((layers, choices), dtype=np.int64)
        self.steps = 0
        self.equal_after_every_step = True

    def record(self, paths: np.ndarray) -> None:
        """Count one step's paths `[k, layers]`."""
        for path in paths:
            self.counts[np.arange(len(path)), path] += 1
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
