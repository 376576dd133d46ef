"""What an exporter is given, and what it gives back: the same few types for every format."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, TypeAlias

from torch import Tensor, nn

from .onnx.export import Preprocessing

Logits: TypeAlias = Callable[[Tensor], Tensor]
"""Maps preprocessed images `[B, C, H, W]`, float32 on the CPU, to logits `[B, classes]`."""


@dataclass(frozen=True)
class Deployable:
    """A network as it is handed over.

    Attributes:
        name: what it is called.
        network: on the CPU, in evaluation mode.
        preprocessing: of its images; says its input's resolution.
        classes: label names in logit order.
    """

    name: str
    network: nn.Module
    preprocessing: Preprocessing
    classes: tuple[str, ...]

    @property
    def input_shape(self) -> tuple[int, int, int, int]:
        """Of one image, `[1, C, H, W]`."""
        side = self.preprocessing.resolution
        return (1, len(self.preprocessing.mean), side, side)


@dataclass(frozen=True)
class Samples:
    """Real, preprocessed images `[N, C, H, W]` that a format may be fitted to; never those that it is judged on.

    Attributes:
        calibration: ranges of activations are taken from these.
        selection: choices between ways of quantising are made by accuracy on these.
        labels: of `selection`, int64 `[N]`.
    """

    calibration: Tensor
    selection: Tensor
    labels: Tensor


@dataclass(frozen=True)
class Exported:
    """One format of a network, not yet judged and not yet written.

    Attributes:
        format: its name, as in `--format`.
        files: content by file name; the first is the model.
        run: answers as the file does, here; None where it cannot run on this machine.
        not_run: why it cannot, in one line.
        facts: what else a reviewer asks: how it was calibrated, which layers stayed in float, what the engine holds;
            JSON values.
    """

    format: str
    files: dict[str, bytes]
    run: Logits | None
    not_run: str | None = None
    facts: dict[str, Any] = field(default_factory=dict)

    @property
    def model(self) -> bytes:
        """Content of the model's file."""
        return next(iter(self.files.values()))
