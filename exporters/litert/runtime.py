"""LiteRT files on this machine: what they answer, and how long they take."""

from __future__ import annotations

import statistics
import time
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ..deployable import Logits
from ..errors import ExportError
from .quiet import quiet

MISSING = "LiteRT is not installed: pip install 'fairnas[litert]'"
_WARM_UP_RUNS = 3
_LONGEST_REASON = 300


def litert_logits(content: bytes, threads: int = 1) -> Logits:
    """A function from images `[B, C, H, W]` to the logits of a LiteRT file, on this CPU (XNNPACK).

    The file takes one image at a time, channels first or last. Where it takes or gives int8, the function still takes
    and gives float32.

    Args:
        content: of the file.
        threads: that one image may use.

    Raises:
        ExportError: LiteRT is not installed, or cannot load the file; from the function: it takes other images.
    """
    interpreter = load_interpreter(content, threads)
    (taken,), (given,) = interpreter.get_input_details(), interpreter.get_output_details()

    def logits(images: Tensor) -> Tensor:
        answers = []
        for image in as_inputs(images, taken):
            interpreter.set_tensor(taken["index"], image)
            interpreter.invoke()
            answers.append(dequantised(interpreter.get_tensor(given["index"]), given))
        return torch.from_numpy(np.concatenate(answers))

    return logits


def litert_latency(content: bytes, shape: Sequence[int], runs: int) -> tuple[float, float]:
    """How long a LiteRT file takes for one image here, on one thread.

    Args:
        content: of the file.
        shape: of the image, `[1, C, H, W]`, whatever the file's layout.
        runs: how many are timed, after a few that are not.

    Returns:
        Shortest and median time in ms.

    Raises:
        ExportError: LiteRT is not installed, cannot load the file, or the file takes other images.
    """
    interpreter = load_interpreter(content, threads=1)
    (taken,) = interpreter.get_input_details()
    image = torch.randn(*shape, generator=torch.Generator().manual_seed(0))
    interpreter.set_tensor(taken["index"], as_inputs(image, taken)[0])
    times = []
    for _ in range(_WARM_UP_RUNS + runs):
        start = time.perf_counter()
        interpreter.invoke()
        times.append((time.perf_counter() - start) * 1e3)
    timed = times[_WARM_UP_RUNS:]
    return min(timed), statistics.median(timed)


def xnnpack_parts(content: bytes) -> int:
    """How many pieces of a LiteRT file XNNPACK computes on this machine: 1 where it knows every operator.

    Between the pieces LiteRT's own, slower kernels compute: of 8-bit networks every hard-Swish.

    Raises:
        ExportError: LiteRT is not installed, or cannot load the file.
    """
    steps = load_interpreter(content, threads=1)._get_ops_details()  # there is no public way to them
    return sum(step["op_name"] == "DELEGATE" for step in steps)


def load_interpreter(content: bytes, threads: int, *, keep_all: bool = False) -> Any:
    """An `ai_edge_litert` interpreter of a file, ready to run.

    Args:
        content: of the file.
        threads: that it may use.
        keep_all: whether every operator's output can be read afterwards.

    Raises:
        ExportError: LiteRT is not installed, or cannot load the file.
    """
    with quiet():
        try:
            from ai_edge_litert.interpreter import Interpreter  # pyright: ignore[reportMissingImports]  # an extra
        except ImportError as error:
            raise ExportError(MISSING) from error
        try:
            interpreter = Interpreter(
                model_content=content, num_threads=threads, experimental_preserve_all_tensors=keep_all
            )
            interpreter.allocate_tensors()
        except (ValueError, RuntimeError) as error:
            raise ExportError(f"LiteRT cannot load the file: {reason(error)}") from error
    return interpreter


def reason(error: Exception) -> str:
    """The first line of a message, cut short: these libraries add whole graphs to theirs."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return f"{type(error).__name__}: {lines[0][:_LONGEST_REASON]}" if lines else type(error).__name__


def as_inputs(images: Tensor, taken: dict[str, Any]) -> list[np.ndarray]:
    """Images `[B, C, H, W]` one by one, as the input of a file holds them.

    Args:
        images: float32.
        taken: details of the input.

    Raises:
        ExportError: the file takes images of another size.
    """
    _, channels, height, width = images.shape
    shape = [int(size) for size in taken["shape"]]
    if shape == [1, height, width, channels]:
        images = images.permute(0, 2, 3, 1)
    elif shape != [1, channels, height, width]:
        raise ExportError(f"the LiteRT file takes {shape}, not images of {list(images.shape)}")
    values = np.ascontiguousarray(images.numpy())
    if not np.issubdtype(taken["dtype"], np.floating):
        scale, zero = taken["quantization"]
        limits = np.iinfo(taken["dtype"])
        values = np.clip(np.round(values / scale) + zero, limits.min, limits.max)
    return list(values.astype(taken["dtype"])[:, None])


def dequantised(values: np.ndarray, details: dict[str, Any]) -> np.ndarray:
    """What a tensor of the file stands for, in float32."""
    scale, zero = details["quantization"]
    if np.issubdtype(details["dtype"], np.floating):
        return values.astype(np.float32)
    return ((values.astype(np.float32) - zero) * scale).astype(np.float32)
