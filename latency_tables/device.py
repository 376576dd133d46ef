"""What a device must be able to do. Estimates, caching and tables are shared and live on our side."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Protocol, TypeAlias

import numpy as np

OnnxModel: TypeAlias = bytes | Path
"""A serialised ONNX model, or the path of one."""

Samples: TypeAlias = dict[str, list[float]]
"""Raw times of each model in ms, one per round, in the order they were taken."""

Progress: TypeAlias = Callable[[int, int], None]
"""Called with how many rounds are done and how many there are."""


class Device(Protocol):
    """Somewhere ONNX models run and can be timed.

    Attributes:
        id: short name, used in file names.
        kind: the family of devices (`host`), as targets name it.
    """

    id: str
    kind: str

    def fingerprint(self) -> dict[str, str | int]:
        """Everything that, if it changed, would make old measurements wrong.

        `name` (for people) and `runtime` are always there. Measurements with different fingerprints are never mixed.
        """
        ...

    def prepare(self) -> None:
        """Make the device ready to measure; calling it again does nothing.

        Raises:
            LatencyError: the device cannot be used.
        """
        ...

    def measure(self, models: Mapping[str, OnnxModel], rounds: int, progress: Progress | None = None) -> Samples:
        """Time every model once per round, all models of a round one after the other.

        Interleaving spreads a disturbance of the device over all models instead of spoiling one of them.

        Raises:
            LatencyError: a model does not load or run, or `rounds` is less than one.
        """
        ...

    def verify(self, model: OnnxModel, inputs: Mapping[str, np.ndarray], reference: np.ndarray) -> float:
        """Run a model once and return the largest absolute difference of its first output from `reference`."""
        ...

    def close(self) -> None:
        """Let go of the device."""
        ...
