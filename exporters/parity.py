"""Parity: does the exported file answer as the network does, on real images?"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn

from ..latency_tables.runtime import onnxruntime
from .errors import ExportError


@dataclass(frozen=True, slots=True)
class Parity:
    """Differences between a network and its exported file.

    Attributes:
        images: how many images were compared.
        max_abs_difference: largest difference of a logit.
        mean_abs_difference: mean difference of a logit.
        max_relative_difference: the same, relative to the largest logit of the network.
        top1_agreement: share of images with the same answer.
    """

    images: int
    max_abs_difference: float
    mean_abs_difference: float
    max_relative_difference: float
    top1_agreement: float


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


@torch.inference_mode()
def compare(network: nn.Module, exported: Callable[[Tensor], Tensor], batches: Iterable[Tensor]) -> Parity:
    """Run both on the same images.

    Args:
        network: the reference, on the CPU in evaluation mode.
        exported: the exported model.
        batches: preprocessed images `[B, C, H, W]`.
    """
    expected, answered = zip(*((network(images), exported(images)) for images in batches), strict=True)
    reference, logits = torch.cat(expected), torch.cat(answered)
    differences = (reference - logits).abs()
    return Parity(
        images=len(reference),
        max_abs_difference=float(differences.max()),
        mean_abs_difference=float(differences.mean()),
        max_relative_difference=float(differences.max() / reference.abs().max()),
        top1_agreement=float((reference.argmax(1) == logits.argmax(1)).float().mean()),
    )


def require_parity(parity: Parity, tolerance: float) -> None:
    """What a format that keeps float32 must fulfil.

    Args:
        parity: of the exported file.
        tolerance: largest `max_relative_difference` that passes; the answers must agree on every image.

    Raises:
        ExportError: they differ by more, or the file answered with something that is no number.
    """
    if not parity.max_relative_difference <= tolerance or parity.top1_agreement < 1:
        raise ExportError(
            f"the exported model differs from PyTorch on {parity.images} images: largest relative difference "
            f"{parity.max_relative_difference:.2g} (limit {tolerance:.2g}), same answer on {parity.top1_agreement:.1%}"
        )
