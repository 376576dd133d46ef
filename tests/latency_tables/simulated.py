"""A device whose times are computed: what stands above `Device` is tested without waiting for a real one."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import onnx
from fairnas.latency_tables import Conditions, DeviceLost, Fingerprint, HostDevice, OnnxModel, Sample

WEIGHTS_PER_MS = 10_000
NETWORK_INTERCEPT_MS, NETWORK_SLOPE = 4.0, 1.5
COLD = 1.2


@dataclass
class Simulated:
    """A block takes 1 ms per 10,000 weights, a network 4 ms more and half as long again; answers are the host's.

    Attributes:
        build: part of its fingerprint; another one is another device.
        factor: what a model's time is multiplied by in a round.
        others: share of its cores that other work uses then.
        losses: after how many samples it goes away, once for each number.
        absence: how often it is still away when somebody connects again; each loss begins another absence.
        wrong: names of models whose outputs are off by a tenth.
        weather: what it says of itself, one after the other; the last stays.
        returns_as: the build that it has when it comes back.
        taken: model and round of every sample that it has given.
    """

    id: str = "simulated"
    kind: str = "simulated"
    build: str = "1"
    warm_runs: int = 1
    factor: Callable[[str, int], float] = lambda name, number: 1.0
    others: Callable[[str, int], float | None] = lambda name, number: None
    losses: list[int] = field(default_factory=list)
    absence: int = 0
    wrong: frozenset[str] = frozenset()
    weather: list[Conditions] = field(default_factory=lambda: [Conditions()])
    returns_as: str | None = None
    taken: list[tuple[str, int]] = field(default_factory=list)
    prepared: int = 0
    verified: int = 0
    _away: int = 0
    _times: dict[str, float] = field(default_factory=dict)

    def prepare(self) -> None:
        """See `Device.prepare`."""
        self.prepared += 1
        if self._away:
            self._away -= 1
            raise DeviceLost("the simulated device is away")

    def fingerprint(self) -> Fingerprint:
        """See `Device.fingerprint`."""
        told: Fingerprint = {"name": "a simulated phone", "runtime": "arithmetic", "threads": 1, "clock_us": 0.001}
        return told | {"os": self.build, "warm_runs": self.warm_runs}

    def outputs(self, models: Mapping[str, OnnxModel]) -> dict[str, np.ndarray]:
        """See `Device.outputs`."""
        self.verified += len(models)
        answers = HostDevice().outputs(models)
        return {
            name: answer + 0.1 * np.abs(answer).max() if name in self.wrong else answer
            for name, answer in answers.items()
        }

    def measure(self, models: Mapping[str, OnnxModel], rounds: range) -> Iterator[Sample]:
        """See `Device.measure`."""
        times = {name: self._time(model) for name, model in models.items()}
        for number in rounds:
            for name, time_ms in times.items():
                self._maybe_leave()
                warm = time_ms * self.factor(name, number)
                self.taken.append((name, number))
                yield Sample(name, number, COLD * warm, warm, warm, self.others(name, number))

    def conditions(self) -> Conditions:
        """See `Device.conditions`."""
        return self.weather.pop(0) if len(self.weather) > 1 else self.weather[0]

    def close(self) -> None:
        """Nothing is held."""

    def _maybe_leave(self) -> None:
        if self.losses and len(self.taken) >= self.losses[0]:
            self.losses.pop(0)
            self._away = self.absence
            self.build = self.returns_as or self.build
            raise DeviceLost("the simulated device went away")

    def _time(self, model: OnnxModel) -> float:
        content = model.read_bytes() if isinstance(model, Path) else model
        digest = hashlib.sha256(content).hexdigest()
        if digest not in self._times:
            self._times[digest] = _time_ms(onnx.load_from_string(content).graph)
        return self._times[digest]


def _time_ms(graph: onnx.GraphProto) -> float:
    alone = sum(int(np.prod(tensor.dims)) for tensor in graph.initializer) / WEIGHTS_PER_MS
    return NETWORK_INTERCEPT_MS + NETWORK_SLOPE * alone if graph.name == "network" else alone
