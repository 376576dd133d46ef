"""How TensorRT engines are built, and with which of the two libraries."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from ...latency_tables import LatencyError
from ...latency_tables.runtimes.tensorrt_library import TITLES, TensorRtLibrary, find_library, no_gpu, open_library
from ..errors import ExportError


@dataclass(frozen=True)
class TensorRtSettings:
    """How engines are built.

    Attributes:
        library: the package; `auto` takes TensorRT where there is a GPU and none is named, otherwise TensorRT-RTX; or
            what is installed.
        compute_capabilities: of the GPUs that one engine is to run on, such as `8.6`; TensorRT-RTX only. Empty: this
            machine's GPU with TensorRT, every GPU from Ampere on with TensorRT-RTX.
        batch: smallest, usual and largest batch.
        cache: folder in which TensorRT keeps how fast kernels were, for the next build; None keeps nothing.
            TensorRT-RTX times nothing.
    """

    library: Literal["auto", "tensorrt", "tensorrt_rtx"] = "auto"
    compute_capabilities: tuple[str, ...] = ()
    batch: tuple[int, int, int] = (1, 1, 32)
    cache: Path | None = None


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
