"""Whether a format may be handed over: what it was compared with, what was found, and what follows."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import torch
from torch import Tensor

from .deployable import Deployable, Exported, Logits
from .errors import ExportError
from .parity import Parity, compare, require_parity

KEEPS_FLOAT32 = ("onnx", "tensorrt", "litert")
"""Formats that compute what PyTorch computes, up to rounding; all others lose precision."""


@dataclass(frozen=True, slots=True)
class Limits:
    """How far a format may be from the network.

    Attributes:
        tolerance: of formats that keep float32; see `require_parity`.
        max_drop: largest loss of top-1, within 0..1, of those that lose precision.
    """

    tolerance: float
    max_drop: float


@dataclass(frozen=True, slots=True)
class Judgement:
    """What was found of one format.

    Attributes:
        parity: None where the file cannot run here.
        top1_before: of the network on the validation images; None where it does not know their classes.
        top1: of the file; None as above.
        reason: why it is not fit to be handed over; None where it is.
        first_diverging_layer: the first whose output differs by more than it should; None where none does.
    """

    parity: Parity | None = None
    top1_before: float | None = None
    top1: float | None = None
    reason: str | None = None
    first_diverging_layer: str | None = None


def judge_format(
    model: Deployable,
    exported: Exported,
    parity_batches: Iterable[Tensor],
    accuracies: tuple[float, float] | None,
    limits: Limits,
    *,
    random_weights: bool = False,
) -> Judgement:
    """Judge a format on images that it was not fitted to.

    Args:
        model: the reference.
        exported: what is judged.
        parity_batches: images `[B, C, H, W]`.
        accuracies: top-1 of the network and of the file; None where the network does not know the images' classes.
        limits: what passes.
        random_weights: of such a network the answers mean nothing, so a loss of precision is measured and not judged.
    """
    if exported.run is None:
        return Judgement(top1_before=accuracies[0] if accuracies else None)
    parity = compare(model.network, exported.run, parity_batches)
    before, after = accuracies or (None, None)
    reason = None
    if exported.format in KEEPS_FLOAT32:
        try:
            require_parity(parity, limits.tolerance)
        except ExportError as error:
            reason = str(error)
    elif before is not None and after is not None:
        if not before - after <= limits.max_drop:
            reason = f"top-1 falls by {100 * (before - after):.2f} points (limit {100 * limits.max_drop:.2f})"
    elif not random_weights and 1 - parity.top1_agreement > limits.max_drop:
        reason = (
            f"it gives the network's own answer on {parity.top1_agreement:.1%} of {parity.images} images "
            f"(limit {1 - limits.max_drop:.1%}; accuracy cannot be told: the images have other classes)"
        )
    return Judgement(parity, before, after, reason)


@torch.inference_mode()
def accuracy(run: Logits, batches: Iterable[tuple[Tensor, Tensor]]) -> float:
    """Share of images whose largest logit is their label."""
    hits = [(run(images).argmax(1) == labels).float() for images, labels in batches]
    return float(torch.cat(hits).mean())
