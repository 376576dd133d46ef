"""What supernet training and retraining share: the device, reproducible generators, metrics, evaluation."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from ...common.files import write_atomic
from ..data import ImageSet, eval_batches


def training_device() -> torch.device:
    """The GPU where there is one, else the CPU."""
    return torch.device("cuda" if torch.cuda.is_available() else "cpu")


def to_device(module: nn.Module, device: torch.device) -> nn.Module:
    """Move to a device, channels_last: the layout that depthwise convolutions are fast in."""
    return module.to(device).to(memory_format=torch.channels_last)  # pyright: ignore[reportCallIssue]


def autocast(amp: str, device: torch.device) -> AbstractContextManager[Any]:
    """Mixed precision on GPUs, nothing on CPUs."""
    if amp == "none" or device.type != "cuda":
        return contextlib.nullcontext()
    return torch.autocast("cuda", dtype=getattr(torch, amp))


@torch.inference_mode()
def top1(
    forward: Callable[[Tensor], Tensor], images: ImageSet, batch_size: int, resolution: int, device: torch.device
) -> float:
    """Share of images whose largest logit is their class; `forward` maps a batch on `device` to logits."""
    correct = 0
    for batch, labels in eval_batches(images, batch_size=batch_size, resolution=resolution):
        logits = forward(batch.to(device, non_blocking=True))
        correct += int((logits.argmax(1).cpu() == labels).sum())
    return correct / len(images)


def are_rows(value: Any) -> bool:
    """Whether a checkpoint's metrics are some."""
    return isinstance(value, list) and all(isinstance(row, dict) for row in value)


class Metrics:
    """Rows of a `metrics.jsonl`; they travel with the checkpoint, so a resumed run repeats none and loses none."""

    def __init__(self, path: Path, rows: list[dict[str, Any]] | None = None) -> None:
        self._path = path
        self.rows = rows or []

    def add(self, **values: Any) -> None:
        """Append a row."""
        self.rows.append(values)

    def write(self) -> None:
        """Replace the file by the rows so far."""
        write_atomic(self._path, "".join(json.dumps(row, allow_nan=False) + "\n" for row in self.rows))
