"""How fast TensorRT found kernels to be, kept in a file."""

from __future__ import annotations

import contextlib
import re
from pathlib import Path
from typing import Any

import torch

from ...common.files import write_atomic
from ...latency_tables.runtimes.tensorrt_library import TensorRtLibrary


class TimingCache:
    """How fast kernels were, kept in a file: TensorRT need not time them again.

    Args:
        config: of a builder; gets what the file holds.
        path: a file that is missing, damaged or of another GPU counts as an empty one.
    """

    def __init__(self, config: Any, path: Path) -> None:
        self._config, self._path = config, path
        content = b""
        with contextlib.suppress(OSError):
            content = path.read_bytes()
        for start in (content, b""):
            cache = config.create_timing_cache(start)
            if cache and config.set_timing_cache(cache, ignore_mismatch=False):
                break

    def save(self) -> None:
        """Keep what the build added. A folder that cannot be written is no error: the next build takes longer."""
        with contextlib.suppress(OSError):
            write_atomic(self._path, bytes(self._config.get_timing_cache().serialize()))


def timing_file(library: TensorRtLibrary) -> str:
    """Name of the file for this version and GPU."""
    gpu = re.sub(r"\W+", "-", torch.cuda.get_device_name())
    return f"timing-{library.module.__version__}-{gpu}.cache"
