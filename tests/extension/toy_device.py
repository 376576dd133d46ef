"""A device as somebody outside would write one: its times are arithmetic, its answers the host's."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path

import numpy as np
import onnx
from fairnas.latency_tables import Conditions, Fingerprint, HostDevice, LatencyError, OnnxModel, Sample

WEIGHTS_PER_MS = 1000


class ToyDevice:
    """A model takes 1 ms for every 1,000 weights, and half as long again where it is cold."""

    id = "toy"
    kind = "toy"

    def __init__(self, threads: int = 1) -> None:
        self.threads = threads
        self.prepared = 0

    def prepare(self) -> None:
        """See `Device.prepare`."""
        self.prepared += 1

    def fingerprint(self) -> Fingerprint:
        """See `Device.fingerprint`."""
        return {"name": "an abacus", "runtime": "arithmetic", "threads": self.threads, "clock_us": 0.001}

    def outputs(self, models: Mapping[str, OnnxModel]) -> dict[str, np.ndarray]:
        """See `Device.outputs`."""
        return HostDevice().outputs(models)

    def measure(self, models: Mapping[str, OnnxModel], rounds: range) -> Iterator[Sample]:
        """See `Device.measure`."""
        times = {name: time_ms(name, model) for name, model in models.items()}
        for number in rounds:
            for name, ms in times.items():
                yield Sample(name, number, 1.5 * ms, ms)

    def conditions(self) -> Conditions:
        """See `Device.conditions`."""
        return Conditions()

    def close(self) -> None:
        """Nothing is held."""


def time_ms(name: str, model: OnnxModel) -> float:
    """How long a model takes."""
    try:
        graph = onnx.load_from_string(model.read_bytes() if isinstance(model, Path) else model).graph
    except Exception as error:  # the parser's errors share no base class
        raise LatencyError(f"{name} is no model") from error
    return sum(int(np.prod(tensor.dims)) for tensor in graph.initializer) / WEIGHTS_PER_MS
