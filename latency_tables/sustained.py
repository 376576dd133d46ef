"""Speed under lasting load: what heat and power limits leave of it."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from .device import Device, OnnxModel

_ROUNDS_AT_A_TIME = 50


@dataclass(frozen=True, slots=True)
class Sustained:
    """A model run without a pause.

    Attributes:
        burst_ms: median time of its first tenth.
        sustained_ms: median time of its last quarter.
        seconds: how long it ran.
        runs: how many warm runs were timed.
        temperature_c: at the end, where the device tells.
        frequency_mhz: at the end, where the device tells.
    """

    burst_ms: float
    sustained_ms: float
    seconds: float
    runs: int
    temperature_c: float | None
    frequency_mhz: float | None


def measure_sustained(device: Device, model: Mapping[str, OnnxModel], seconds: float) -> Sustained:
    """Run one model, without a pause, for so many seconds.

    Raises:
        LatencyError: the device cannot run it.
        DeviceLost: the device went away; a lasting load cannot be resumed, so measure it again.
    """
    device.prepare()
    started, times = time.monotonic(), list[float]()
    while time.monotonic() - started < seconds:
        rounds = range(len(times), len(times) + _ROUNDS_AT_A_TIME)
        times += [sample.warm_ms for sample in device.measure(model, rounds)]
    conditions = device.conditions()
    return Sustained(
        burst_ms=float(np.median(times[: max(1, len(times) // 10)])),
        sustained_ms=float(np.median(times[-max(1, len(times) // 4) :])),
        seconds=round(time.monotonic() - started, 1),
        runs=len(times),
        temperature_c=conditions.temperature_c,
        frequency_mhz=conditions.frequency_mhz,
    )
