"""The machine this runs on, through ONNX Runtime on one CPU thread."""

from __future__ import annotations

import os
import platform
import time
from collections.abc import Mapping
from pathlib import Path

import numpy as np

from ..device import OnnxModel, Progress, Samples
from ..errors import LatencyError
from ..runtime import onnxruntime


class HostDevice:
    """This host's CPU.

    One thread, because times of several threads on a shared machine vary by more than half from run to run.
    """

    id = "host"
    kind = "host"

    def fingerprint(self) -> dict[str, str | int]:
        """CPU, operating system and runtime of this host."""
        return {
            "name": _cpu_name(),
            "machine": platform.machine(),
            "cores": os.cpu_count() or 1,
            "os": f"{platform.system()} {platform.release()}",
            "runtime": f"ONNX Runtime {onnxruntime.__version__}, CPUExecutionProvider, 1 thread",
        }

    def prepare(self) -> None:
        """Nothing to do: the runtime came with the package."""

    def measure(self, models: Mapping[str, OnnxModel], rounds: int, progress: Progress | None = None) -> Samples:
        """See `Device.measure`; each timed run directly follows an untimed one, so that caches are warm."""
        if rounds < 1:
            raise LatencyError(f"cannot measure in {rounds} rounds: ask for at least 1")
        runs = {name: _BoundModel(name, model) for name, model in models.items()}
        samples: Samples = {name: [] for name in runs}
        for done in range(rounds):
            for name, run in runs.items():
                run.once()
                samples[name].append(run.once())
            if progress:
                progress(done + 1, rounds)
        return samples

    def verify(self, model: OnnxModel, inputs: Mapping[str, np.ndarray], reference: np.ndarray) -> float:
        """See `Device.verify`."""
        output = np.asarray(_open_session("model", model).run(None, dict(inputs))[0])
        return float(np.abs(output - reference).max())

    def close(self) -> None:
        """Nothing is held."""


class _BoundModel:
    """A session with its input and output already in place, so that what is timed is the network alone."""

    def __init__(self, name: str, model: OnnxModel) -> None:
        self._name = name
        self._session = _open_session(name, model)
        self._binding = self._session.io_binding()
        rng = np.random.default_rng(0)
        for tensor in self._session.get_inputs():
            if tensor.type != "tensor(float)":
                raise LatencyError(f"{name}: input '{tensor.name}' is {tensor.type}: only float32 is measured")
            shape = [size if isinstance(size, int) else 1 for size in tensor.shape]
            values = rng.standard_normal(shape, dtype=np.float32)
            self._binding.bind_ortvalue_input(tensor.name, onnxruntime.OrtValue.ortvalue_from_numpy(values))
        for tensor in self._session.get_outputs():
            self._binding.bind_output(tensor.name)
        self._run()
        # Later runs write into the tensors that the first one made.
        for tensor, value in zip(self._session.get_outputs(), self._binding.get_outputs(), strict=True):
            self._binding.bind_ortvalue_output(tensor.name, value)

    def once(self) -> float:
        """Run once; the time it took in ms."""
        start = time.perf_counter_ns()
        self._session.run_with_iobinding(self._binding)
        return (time.perf_counter_ns() - start) / 1e6

    def _run(self) -> None:
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
