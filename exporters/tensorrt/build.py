"""TensorRT engines: built from an ONNX file, inspected, and run where there is an NVIDIA GPU.

TensorRT (data-centre GPUs, Jetson) builds on the GPU that will run the engine. TensorRT-RTX builds without one, for
GPUs that are named; but it, too, loads an engine on a GPU only, so that without one an engine is known by what its
builder reported.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal

import torch

from ...latency_tables import LatencyError
from ...latency_tables.runtimes.tensorrt_engine import LoadedEngine
from ...latency_tables.runtimes.tensorrt_library import TensorRtLibrary, no_gpu
from ..deployable import Exported
from ..errors import ExportError
from .input import require_readable
from .inspect import Inspection, inspect_engine, inspect_log
from .run import chosen_library, loaded_engine, runner
from .settings import TensorRtSettings
from .timing import TimingCache, timing_file

Precision = Literal["fp32", "fp16", "int8"]

_DTYPES = {"fp32": "float32", "fp16": "float16", "int8": "int8"}


def build_engine(
    onnx_bytes: bytes, precision: Precision, settings: TensorRtSettings | None = None, cache: Path | None = None
) -> Exported:
    """Build an engine and look into it.

    The network is strongly typed: the engine computes in the types that the ONNX file states, so that a float16 engine
    needs a float16 file, and an int8 engine a file with quantising and dequantising operators.

    Args:
        onnx_bytes: a network with one input `[batch, C, H, W]` and one output `[batch, classes]`.
        precision: what convolutions are computed in; that of the file.
        settings: how to build.
        cache: folder in which TensorRT keeps how fast kernels were, for the next build; None keeps nothing.
            TensorRT-RTX times nothing.

    Returns:
        The engine; `run` where it runs on this machine's GPU. Its facts say what it holds and who says so.

    Raises:
        ExportError: the library, a GPU or a compute capability is missing, the file is not for TensorRT, or the engine
            does not compute as `precision` says.
    """
    settings = settings or TensorRtSettings()
    require_readable(onnx_bytes)
    library = chosen_library(settings)
    if not library.rtx and (reason := no_gpu()):
        raise ExportError(f"TensorRT builds on the GPU that runs the engine: {reason}")
    plan, log = _built(library, onnx_bytes, settings, cache)
    engine, not_run = loaded_engine(library, plan)
    inspection = _inspected(library, log, engine, not_run)
    _require_precision(inspection, precision)
    return Exported(
        format="tensorrt" if precision == "fp32" else f"tensorrt-{precision}",
        files={f"model.{precision}.engine": plan},
        run=runner(engine) if engine else None,
        not_run=not_run,
        facts={
            "library": library.title,
            "compute_capabilities": _named(library, settings),
            "tf32": False,
            **inspection.facts(),
            **_memory(log),
        },
    )


def _built(
    library: TensorRtLibrary, content: bytes, settings: TensorRtSettings, cache: Path | None
) -> tuple[bytes, tuple[str, ...]]:
    trt, kept = library.module, None

    def configure(builder: Any, network: Any, config: Any) -> None:
        nonlocal kept
        config.profiling_verbosity = trt.ProfilingVerbosity.DETAILED  # or the engine cannot be inspected
        _set_compute_capabilities(library, config, settings.compute_capabilities)
        _set_batch(builder, network, config, settings.batch)
        if cache and not library.rtx:
            kept = TimingCache(config, cache / timing_file(library))

    try:
        built = library.build("the ONNX file", content, configure)
    except LatencyError as error:
        raise ExportError(str(error)) from error
    if kept:
        kept.save()
    return built.plan, built.log


def _set_compute_capabilities(library: TensorRtLibrary, config: Any, wanted: Sequence[str]) -> None:
    if not wanted:
        return
    if not library.rtx:
        raise ExportError(
            f"TensorRT builds for this machine's GPU only, not for compute capability {', '.join(wanted)}: "
            "take TensorRT-RTX (library tensorrt_rtx)"
        )
    known = {
        f"{name[2:-1]}.{name[-1]}": value
        for name, value in library.module.ComputeCapability.__members__.items()
        if re.fullmatch(r"SM\d{2,}", name)
    }
    if unknown := [name for name in wanted if name not in known]:
        choices = ", ".join(sorted(known, key=float))
        raise ExportError(
            f"{library.title} does not build for compute capability {', '.join(unknown)}: choose from {choices}"
        )
    chosen = sorted(set(wanted), key=float)
    config.num_compute_capabilities = len(chosen)
    for place, name in enumerate(chosen):
        config.set_compute_capability(known[name], place)


def _set_batch(builder: Any, network: Any, config: Any, batch: tuple[int, int, int]) -> None:
    images = network.get_input(0)
    size, *rest = images.shape
    if any(part < 0 for part in rest):
        raise ExportError(f"only the batch may be open, but the ONNX file's {images.name} is {[size, *rest]}")
    if size < 0:
        profile = builder.create_optimization_profile()
        profile.set_shape(images.name, *((count, *rest) for count in batch))
        config.add_optimization_profile(profile)


def _named(library: TensorRtLibrary, settings: TensorRtSettings) -> list[str] | str:
    if settings.compute_capabilities:
        return sorted(set(settings.compute_capabilities), key=float)
    return "8.0 and newer" if library.rtx else ".".join(map(str, torch.cuda.get_device_capability()))


def _inspected(
    library: TensorRtLibrary, log: tuple[str, ...], engine: LoadedEngine | None, not_run: str | None
) -> Inspection:
    if engine:
        return inspect_engine(engine, library.module, f"the engine, loaded on {torch.cuda.get_device_name()}")
    inspection = inspect_log(log, f"{library.title}'s build report ({not_run})")
    if inspection is None:
        raise ExportError(
            f"{library.title} did not report what it built, so that the engine is not known: build it where it runs "
            f"({not_run})"
        )
    return inspection


def _require_precision(inspection: Inspection, precision: Precision) -> None:
    """float32 is all or nothing; the others may leave sensitive layers in more bits."""
    found = {layer.weights for layer in inspection.layers if layer.weights}
    wanted = _DTYPES[precision]
    if wanted not in found or (precision == "fp32" and found != {wanted}):
        raise ExportError(
            f"the engine computes in {', '.join(sorted(found)) or 'no known type'}, not in {wanted}: build a "
            f"{precision} engine from an ONNX file that does"
        )


def _memory(log: tuple[str, ...]) -> dict[str, int]:
    """What the engine will take on the GPU, in bytes, as far as the builder says it."""
    names = {"weights_bytes": "Total Weights Memory", "activations_bytes": "Total Activation Memory"}
    return {
        name: int(match[1])
        for name, words in names.items()
        for text in log
        if (match := re.fullmatch(rf"{words}: (\d+) bytes", text))
    }
