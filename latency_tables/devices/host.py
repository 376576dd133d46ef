"""The machine this runs on, through ONNX Runtime on one CPU thread."""

from __future__ import annotations

import os
import platform
import time
from collections.abc import Iterator, Mapping
from functools import cached_property
from pathlib import Path
from typing import NamedTuple

import numpy as np

from ..device import WARM_MS, WARM_RUNS, Conditions, Fingerprint, OnnxModel, Sample
from ..errors import LatencyError
from ..other_work import OtherWork
from ..probe import probe_input, probe_values
from ..pulse import Pulse
from ..runtimes.onnxruntime import onnxruntime

_WINDOW_S = 0.1  # how often others' use of the cores is looked at: the system counts in hundredths of a second
_SHORTEST_S = 0.04


class HostDevice:
    """This host's CPU.

    One thread, because times of several threads on a shared machine vary by more than half from run to run.
    """

    id = "host"
    kind = "host"

    def prepare(self) -> None:
        """Nothing to do: the runtime came with the package."""

    def fingerprint(self) -> Fingerprint:
        """See `Device.fingerprint`."""
        return {
            "name": _cpu_name(),
            "machine": platform.machine(),
            "cores": os.cpu_count() or 1,
            "os": f"{platform.system()} {platform.release()}",
            "runtime": f"ONNX Runtime {onnxruntime.__version__}, CPUExecutionProvider, 1 thread",
            "threads": 1,
            "warm_runs": WARM_RUNS,
            "clock_us": self._clock_us,
        }

    def outputs(self, models: Mapping[str, OnnxModel]) -> dict[str, np.ndarray]:
        """See `Device.outputs`."""
        return {name: _BoundModel(name, model).output() for name, model in models.items()}

    def measure(self, models: Mapping[str, OnnxModel], rounds: range) -> Iterator[Sample]:
        """See `Device.measure`."""
        runs = {name: _BoundModel(name, model) for name, model in models.items()}
        pulse, others, window = self._pulse, OtherWork(), list[_Timed]()
        for number in rounds:
            for name, run in runs.items():
                before = pulse.wait()
                cold, _ = run.timed()
                warm, cpu = run.warm()
                window.append(_Timed(name, number, cold, warm, cpu, round(max(before, pulse.slowness()), 3)))
                if others.seconds >= _WINDOW_S:
                    yield from _samples(window, others)
        yield from _samples(window, others)

    def conditions(self) -> Conditions:
        """What others use at the moment; a host that is cooled and mains-powered does not drift as phones do."""
        others = OtherWork()
        time.sleep(_WINDOW_S)
        return Conditions(others=others.share())

    def close(self) -> None:
        """Nothing is held."""

    @cached_property
    def _pulse(self) -> Pulse:
        return Pulse()

    @cached_property
    def _clock_us(self) -> float:
        return time.get_clock_info("perf_counter").resolution * 1e6


class _Timed(NamedTuple):
    model: str
    round: int
    cold_ms: float
    warm_ms: float
    cpu_ms: float
    slowness: float


def _samples(window: list[_Timed], others: OtherWork) -> Iterator[Sample]:
    """What was timed since the last look at what others do; a short rest is judged with too coarse a clock."""
    share = others.share() if others.seconds >= _SHORTEST_S else None
    yield from [Sample(**timed._asdict(), others=share) for timed in window]
    window.clear()


class _BoundModel:
    """A session with its input and output already in place, so that what is timed is the network alone."""

    def __init__(self, name: str, model: OnnxModel) -> None:
        self._name = name
        self._session = _open_session(name, model)
        self._binding = self._session.io_binding()
        for tensor in self._session.get_inputs():
            values = probe_input(tuple(tensor.shape))
            self._binding.bind_ortvalue_input(tensor.name, onnxruntime.OrtValue.ortvalue_from_numpy(values))
        for tensor in self._session.get_outputs():
            self._binding.bind_output(tensor.name)
        self._first_run()
        # Later runs write into the tensors that the first one made.
        for tensor, value in zip(self._session.get_outputs(), self._binding.get_outputs(), strict=True):
            self._binding.bind_ortvalue_output(tensor.name, value)

    def timed(self) -> tuple[float, float]:
        """Run once; wall and processor time in ms."""
        cpu, wall = time.thread_time_ns(), time.perf_counter_ns()
        self._session.run_with_iobinding(self._binding)
        wall, cpu = time.perf_counter_ns() - wall, time.thread_time_ns() - cpu
        return wall / 1e6, cpu / 1e6

    def warm(self) -> tuple[float, float]:
        """The shortest of some runs in a row, see `Sample`; wall and processor time in ms."""
        runs = [self.timed()]
        while len(runs) < WARM_RUNS and sum(wall for wall, _ in runs) < WARM_MS:
            runs.append(self.timed())
        return min(runs)

    def output(self) -> np.ndarray:
        """What the last run gave, see `probe_values`."""
        return probe_values(self._binding.get_outputs()[0].numpy())

    def _first_run(self) -> None:
        try:
            self._session.run_with_iobinding(self._binding)
        except Exception as error:
            raise LatencyError(f"{self._name} does not run in ONNX Runtime: {_first_line(error)}") from error


def _open_session(name: str, model: OnnxModel) -> onnxruntime.InferenceSession:
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    options.inter_op_num_threads = 1
    options.log_severity_level = 3
    content = str(model) if isinstance(model, Path) else model
    try:
        return onnxruntime.InferenceSession(content, options, providers=["CPUExecutionProvider"])
    except Exception as error:  # The runtime's errors share no base class of their own.
        raise LatencyError(f"{name} does not load in ONNX Runtime: {_first_line(error)}") from error


def _first_line(error: Exception) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0]


def _cpu_name() -> str:
    info = Path("/proc/cpuinfo")
    if info.exists():
        for line in info.read_text().splitlines():
            if line.lower().startswith(("model name", "hardware")):
                return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()
