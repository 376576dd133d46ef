"""Parity: does the exported file answer as the network does, on real images?"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn

from ..latency_tables.runtimes.onnxruntime import onnxruntime
from .errors import ExportError


@dataclass(frozen=True, slots=True)
class Parity:
    """Differences between a network and its exported file.

    What is no number, on either side, agrees with nothing: differences are NaN or infinite then.

    Attributes:
        images: how many images were compared.
        max_abs_difference: largest difference of a logit.
        mean_abs_difference: mean difference of a logit.
        max_relative_difference: the same, relative to the largest logit of the network; of a network whose logits are
            all 0, as of one whose classifier starts there, it is the difference itself.
        top1_agreement: share of images with the same answer, see `answers`.
        lost_variance: mean square of the difference, as a share of the variance of the network's logits over the
            images; None where these do not vary.
    """

    images: int
    max_abs_difference: float
    mean_abs_difference: float
    max_relative_difference: float
    top1_agreement: float
    lost_variance: float | None = None


def answers(logits: Tensor) -> Tensor:
    """What logits `[B, classes]` say, int64 `[B]`: the largest one; of a single logit, whether it is above 0."""
    return (logits[:, 0] > 0).long() if logits.shape[1] == 1 else logits.argmax(1)


def onnx_logits(content: bytes, output: str | None = None) -> Callable[[Tensor], Tensor]:
    """A function from images `[B, C, H, W]` to the ONNX model's logits, on the CPU.

    Args:
        content: the model's.
        output: the name of what it answers with; None for the first.

    Raises:
        ExportError: ONNX Runtime cannot load the model; the function raises it where it cannot run it.
    """
    try:
        session = onnxruntime.InferenceSession(content, providers=["CPUExecutionProvider"])
    except Exception as error:  # ONNX Runtime raises its own types, which share no base but Exception
        raise ExportError(f"ONNX Runtime cannot load the exported model: {' '.join(str(error).split())}") from error
    wanted = None if output is None else [output]

    def run(images: Tensor) -> Tensor:
        try:
            return torch.from_numpy(session.run(wanted, {"images": np.ascontiguousarray(images.numpy())})[0])
        except Exception as error:
            shape = "x".join(map(str, images.shape))
            raise ExportError(
                f"ONNX Runtime cannot run it on images {shape}: {' '.join(str(error).split())}"
            ) from error

    return run


@torch.no_grad()  # what a network keeps of it must serve in training, too
def compare(network: nn.Module, exported: Callable[[Tensor], Tensor], batches: Iterable[Tensor]) -> Parity:
    """Run both on the same images.

    Args:
        network: the reference, on the CPU in evaluation mode.
        exported: the exported model.
        batches: preprocessed images `[B, C, H, W]`.

    Raises:
        ExportError: the exported model cannot be run on them, or answers in another shape.
    """
    expected, answered = zip(*(_both(network, exported, images) for images in batches), strict=True)
    reference, logits = torch.cat(expected), torch.cat(answered)
    differences = (reference - logits).abs()
    largest, variance = reference.abs().max(), (reference - reference.mean(0)).square().mean()
    numbers = reference.isfinite().all(1) & logits.isfinite().all(1)
    return Parity(
        images=len(reference),
        max_abs_difference=float(differences.max()),
        mean_abs_difference=float(differences.mean()),
        max_relative_difference=float(differences.max() / (largest if largest else 1)),
        top1_agreement=float((numbers & (answers(reference) == answers(logits))).float().mean()),
        lost_variance=float(differences.square().mean() / variance) if variance else None,
    )


def _both(network: nn.Module, exported: Callable[[Tensor], Tensor], images: Tensor) -> tuple[Tensor, Tensor]:
    expected, answered = network(images), exported(images)
    if expected.shape != answered.shape:
        raise ExportError(
            f"the exported model answers {len(images)} images with {list(answered.shape)} numbers, PyTorch with "
            f"{list(expected.shape)}: does the size of its answer depend on the images?"
        )
    return expected.float(), answered.float()


def require_parity(parity: Parity, tolerance: float, how: str = "") -> None:
    """What a format that keeps float32 must fulfil.

    Args:
        parity: of the exported file.
        tolerance: largest `max_relative_difference` that passes; the answers must agree on every image.
        how: the images were given, where that matters: `, one at a time`.

    Raises:
        ExportError: they differ by more, or one of them answered with something that is no number.
    """
    if not math.isfinite(parity.max_relative_difference):
        raise ExportError(
            f"answers on {parity.images} images are no numbers (NaN or infinite) on all but {parity.top1_agreement:.1%}"
        )
    if parity.max_relative_difference > tolerance or parity.top1_agreement < 1:
        raise ExportError(
            f"the exported model differs from PyTorch on {parity.images} images{how}: largest relative difference "
            f"{parity.max_relative_difference:.2g} (limit {tolerance:.2g}), same answer on {parity.top1_agreement:.1%}"
        )
