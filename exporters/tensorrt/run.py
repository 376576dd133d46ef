"""TensorRT engines on this machine's GPU."""

from __future__ import annotations

import torch
from torch import Tensor

from ...latency_tables import LatencyError
from ...latency_tables.runtimes.tensorrt_engine import LoadedEngine
from ...latency_tables.runtimes.tensorrt_library import TITLES, TensorRtLibrary, find_library, no_gpu, open_library
from ..deployable import Logits
from ..errors import ExportError
from .settings import TensorRtSettings


def run_engine(engine: bytes, settings: TensorRtSettings | None = None) -> Logits:
    """An engine on this machine's GPU, for batches of any size: larger ones are cut, smaller ones filled up.

    Args:
        engine: the serialised engine.
        settings: say which library built it.

    Raises:
        ExportError: there is no GPU or no library, or the engine was built for another; one line.
    """
    loaded, not_run = loaded_engine(chosen_library(settings or TensorRtSettings()), engine)
    if loaded is None:
        raise ExportError(not_run)
    return runner(loaded)


def chosen_library(settings: TensorRtSettings) -> TensorRtLibrary:
    """The library that settings mean, loaded.

    Raises:
        ExportError: it is not installed or does not load.
    """
    name = settings.library
    if name == "auto":
        # TensorRT cannot build without a GPU, nor for another one.
        rtx_first = bool(settings.compute_capabilities or no_gpu())
        name = find_library(sorted(TITLES, reverse=rtx_first)) or "tensorrt_rtx"
    try:
        return open_library(name)
    except LatencyError as error:
        raise ExportError(str(error)) from error


def loaded_engine(library: TensorRtLibrary, plan: bytes) -> tuple[LoadedEngine | None, str | None]:
    """The engine on the current GPU, or why not."""
    if reason := no_gpu():
        return None, f"the engine runs on an NVIDIA GPU only: {reason}"
    try:
        return LoadedEngine(library, plan, torch.device("cuda", torch.cuda.current_device())), None
    except LatencyError as error:
        return None, str(error)


def runner(engine: LoadedEngine) -> Logits:
    """A loaded engine, for batches of any size: larger ones are cut, smaller ones filled up."""
    device = torch.device("cuda", torch.cuda.current_device())
    stream = torch.cuda.Stream(device)
    name = engine.inputs[0]

    def run(images: Tensor) -> Tensor:
        with torch.cuda.device(device), torch.cuda.stream(stream):
            try:
                outputs = engine.bind({name: images.to(device, engine.dtype(name)).contiguous()})
                engine.enqueue()
            except (LatencyError, RuntimeError) as error:
                raise ExportError(f"the engine does not run: {error}") from error
            return outputs[engine.outputs[0]].float().cpu()

    smallest, _, largest = engine.batches()
    return in_batches(run, smallest, largest)


def in_batches(run: Logits, smallest: int, largest: int) -> Logits:
    """`run`, which takes from `smallest` to `largest` images at once, for any number of them."""

    def logits(images: Tensor) -> Tensor:
        parts = []
        for part in images.split(largest):
            missing = max(0, smallest - len(part))
            filled = torch.cat([part, part[-1:].expand(missing, -1, -1, -1)]) if missing else part
            parts.append(run(filled)[: len(part)])
        return torch.cat(parts)

    return logits
