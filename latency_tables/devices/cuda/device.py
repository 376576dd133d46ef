"""An NVIDIA GPU, timed by CUDA events."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import torch

from ...device import Conditions, Fingerprint, OnnxModel, Sample
from ...errors import LatencyError
from ...probe import probe_values
from .engines import ENGINES, Engine

_CLOCK_US = 0.5  # resolution of CUDA events, as NVIDIA documents it
_FLUSH_BYTES = 256 * 2**20  # several times the L2 cache of any GPU there is


class CudaDevice:
    """An NVIDIA GPU.

    A cold run follows a write of 256 MB, which leaves nothing of a model in the L2 cache; the warm run follows it
    directly. All three wait in one stream, so that no launch from the host is timed. Numbers are float32: TF32 is off.

    Args:
        index: of the GPU, as PyTorch counts.
        engine: `onnxruntime` (the package onnxruntime-gpu), `tensorrt`, `torch` (operators of block models only), or
            `auto` for the first of these that is installed.
    """

    id = "cuda"
    kind = "cuda"

    def __init__(self, index: int = 0, engine: str = "auto") -> None:
        if engine not in ("auto", *ENGINES):
            raise LatencyError(f"unknown engine '{engine}' for a GPU: choose from auto, {', '.join(ENGINES)}")
        if index < 0:
            raise LatencyError(f"there is no GPU {index}: they are counted from 0")
        self._device = torch.device("cuda", index)
        self._engine = engine
        self._stream: torch.cuda.Stream | None = None

    def prepare(self) -> None:
        """See `Device.prepare`."""
        if self._stream is not None:
            return
        if torch.version.cuda is None:
            raise LatencyError("this PyTorch was built without CUDA: install one with it to measure on an NVIDIA GPU")
        found = torch.cuda.device_count() if torch.cuda.is_available() else 0
        if self._device.index >= found:
            raise LatencyError(
                f"there is no NVIDIA GPU {self._device.index} here (PyTorch finds {found}): check that nvidia-smi "
                "lists it, or measure on another device"
            )
        if self._engine == "auto":
            self._engine = next(name for name, engine in ENGINES.items() if engine.title())
        elif ENGINES[self._engine].title() is None:
            package = {"onnxruntime": "onnxruntime-gpu (in place of onnxruntime)"}.get(self._engine, self._engine)
            raise LatencyError(f"engine {self._engine} is not installed: install {package}, or take the engine torch")
        self._stream = torch.cuda.Stream(self._device)
        self._flushed = torch.empty(_FLUSH_BYTES, dtype=torch.uint8, device=self._device)

    def fingerprint(self) -> Fingerprint:
        """See `Device.fingerprint`; with `driver`, `cuda`, `compute_capability` and `power_limit_w`."""
        told = self._ask_driver("driver_version", "power.limit", "clocks.max.sm", "clocks.max.memory")
        properties = torch.cuda.get_device_properties(self._device)
        facts: Fingerprint = {
            "name": properties.name,
            "runtime": str(ENGINES[self._engine].title()),
            "threads": 1,
            "clock_us": _CLOCK_US,
            "cores": properties.multi_processor_count,
            "memory_mb": properties.total_memory // 2**20,
            "cuda": str(torch.version.cuda),
            "compute_capability": f"{properties.major}.{properties.minor}",
        }
        names = {
            "driver_version": "driver",
            "power.limit": "power_limit_w",
            "clocks.max.sm": "max_mhz",
            "clocks.max.memory": "max_memory_mhz",
        }
        return facts | {names[field]: value for field, value in told.items()}

    def outputs(self, models: Mapping[str, OnnxModel]) -> dict[str, np.ndarray]:
        """See `Device.outputs`."""
        found = {}
        for name, model in models.items():
            with self._errors_of(name):
                engine = self._load(name, model)
                engine.enqueue()
                torch.cuda.synchronize(self._device)
                found[name] = probe_values(engine.output().cpu().numpy())
        return found

    def measure(self, models: Mapping[str, OnnxModel], rounds: range) -> Iterator[Sample]:
        """See `Device.measure`; `cpu_ms` is None."""
        engines = {}
        for name, model in models.items():
            with self._errors_of(name):
                engines[name] = self._load(name, model)
        for number in rounds:
            for name, engine in engines.items():
                with self._errors_of(name):
                    cold, warm = self._timed(engine)
                yield Sample(name, number, cold, warm)

    def conditions(self) -> Conditions:
        """See `Device.conditions`: of the whole GPU, as its driver tells."""
        told = self._ask_driver("temperature.gpu", "clocks.sm")
        numbers = {field: float(value) for field, value in told.items() if value.replace(".", "", 1).isdigit()}
        return Conditions(numbers.get("temperature.gpu"), numbers.get("clocks.sm"))

    def close(self) -> None:
        """Give the memory back."""
        if self._stream is not None:
            self._stream = None
            del self._flushed
            torch.cuda.empty_cache()

    def _load(self, name: str, model: OnnxModel) -> Engine:
        return ENGINES[self._engine](name, model.read_bytes() if isinstance(model, Path) else model, self._device)

    def _timed(self, engine: Engine) -> tuple[float, float]:
        """A cold and a warm run, in ms."""
        before, between, after = (torch.cuda.Event(enable_timing=True) for _ in range(3))
        # While the GPU writes, the host has time to launch everything that follows.
        self._flushed.zero_()
        before.record()
        engine.enqueue()
        between.record()
        engine.enqueue()
        after.record()
        after.synchronize()
        return before.elapsed_time(between), between.elapsed_time(after)

    @contextmanager
    def _errors_of(self, name: str) -> Iterator[None]:
        """On our own stream; what a model does wrong becomes one line."""
        self._require_prepared()
        try:
            with torch.cuda.device(self._device), torch.cuda.stream(self._stream):
                yield
        except LatencyError:
            raise
        except Exception as error:  # the engines' errors share no base class
            line = (str(error).splitlines() or [type(error).__name__])[0]
            raise LatencyError(f"{name} does not run on the GPU with {self._engine}: {line}") from error

    def _require_prepared(self) -> None:
        if self._stream is None:
            raise LatencyError("the GPU is not prepared: call prepare() first")

    def _ask_driver(self, *fields: str) -> dict[str, str]:
        """What nvidia-smi, which comes with the driver, says of this GPU; fields it does not know are left out."""
        self._require_prepared()
        identity = getattr(torch.cuda.get_device_properties(self._device), "uuid", None)
        query = ["nvidia-smi", f"--query-gpu={','.join(fields)}", "--format=csv,noheader,nounits"]
        # By identity: nvidia-smi also counts the GPUs that CUDA_VISIBLE_DEVICES hides.
        query.append(f"--id=GPU-{identity}" if identity else f"--id={self._device.index}")
        try:
            answer = subprocess.run(query, capture_output=True, text=True, timeout=10, check=True).stdout
        except (OSError, subprocess.SubprocessError):
            return {}
        values = [value.strip() for value in answer.strip().split(",")]
        return {field: value for field, value in zip(fields, values, strict=False) if value and value[0] != "["}
