"""Whether a format may be handed over: what it was compared with, what was found, and what follows."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass

import torch
from torch import Tensor

from ..common.exhaustion import raise_if_exhausted
from .deployable import Deployable, Exported, Logits
from .errors import ExportError
from .formats import get_format
from .paired import Loss
from .parity import Parity, answers, compare, require_parity

LOSS_IS_NOT_JUDGED = "loss not judged: random weights"

Batches = Callable[[], Iterable[Tensor]]


@dataclass(frozen=True, slots=True)
class Limits:
    """How far a format may be from the network.

    Attributes:
        tolerance: of formats that keep float32; see `require_parity`.
        max_drop: largest loss of top-1, within 0..1, of those that lose precision, see `Loss.breaks`. Of networks with
            one logit that is no answer to a question of the images, the largest loss of its variance.
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
        judged_by: in words, what decided, and what so many images can tell.
        first_diverging_layer: the first whose output differs by more than it should; None where none does.
    """

    parity: Parity | None = None
    top1_before: float | None = None
    top1: float | None = None
    reason: str | None = None
    judged_by: str | None = None
    first_diverging_layer: str | None = None


def judge_format(
    model: Deployable,
    exported: Exported,
    parity_batches: Batches,
    hits: tuple[Tensor, Tensor] | None,
    limits: Limits,
    *,
    one_by_one: int = 0,
    branches: bool = False,
    random_weights: bool = False,
) -> Judgement:
    """Judge a format on images that it was not fitted to.

    Args:
        model: the reference.
        exported: what is judged.
        parity_batches: gives images `[B, C, H, W]`, as often as it is called.
        hits: which validation images the network, and which the file answers rightly, bool `[N]` each; None where the
            network does not know the images' classes.
        limits: what passes.
        one_by_one: on how many of the images formats that keep float32 are compared once more, one image at a time:
            what a network computes may depend on what else is in the batch.
        branches: whether its code is known to decide by the images: then these are all of them, and also made brighter
            and darker, since few images of a set may lie beyond a threshold.
        random_weights: of such a network the answers mean nothing, so a loss of precision is measured and not judged.
    """
    before, after = (float(each.float().mean()) for each in hits) if hits else (None, None)
    if exported.run is None:
        return Judgement(top1_before=before)
    parity = compare(model.network, exported.run, parity_batches())
    found = Judgement(parity, before, after)
    keeps_float32 = get_format(exported.format).keeps_float32
    try:
        if keeps_float32:
            require_parity(parity, limits.tolerance)
            if one_by_one:
                alone = compare(model.network, exported.run, _one_by_one(parity_batches(), one_by_one, branches))
                how = ", one at a time, also brighter and darker" if branches else ", one at a time"
                require_parity(alone, limits.tolerance, how)
            return found
        _require_numbers(parity)
        if random_weights:
            return Judgement(parity, before, after, judged_by=LOSS_IS_NOT_JUDGED)
        judged_by = _judge_loss(parity, hits, limits, single=len(model.classes) == 1)
    except ExportError as error:
        raise_if_exhausted(error)
        return Judgement(parity, before, after, reason=str(error))
    return Judgement(parity, before, after, judged_by=judged_by)


def _judge_loss(parity: Parity, hits: tuple[Tensor, Tensor] | None, limits: Limits, *, single: bool) -> str:
    """What decided that precision may be lost; raises `ExportError` where it may not."""
    if hits is not None:
        first, second = hits
        loss = Loss(int((first & ~second).sum()), int((second & ~first).sum()), len(first))
        if loss.breaks(limits.max_drop):
            raise ExportError(f"top-1 falls {loss.in_words(limits.max_drop)}")
        return f"top-1 falls {loss.in_words(limits.max_drop)}"
    if single:
        lost = parity.lost_variance
        lost = 0.0 if lost is None and parity.max_abs_difference == 0 else lost
        share = "all" if lost is None else f"{lost:.2%}"
        words = (
            f"its only number loses {share} of its variance over {parity.images} images "
            f"(limit {limits.max_drop:.2%}; it is judged by value: the images have no classes that it answers)"
        )
        if lost is None or lost > limits.max_drop:
            raise ExportError(words)
        return words
    changed = round((1 - parity.top1_agreement) * parity.images)
    loss = Loss(changed, 0, parity.images)
    words = (
        f"it gives the network's own answer on {parity.top1_agreement:.1%} of {parity.images} images, so that answers "
        f"change {loss.in_words(limits.max_drop)}; accuracy cannot be told: the images have other classes"
    )
    if loss.breaks(limits.max_drop):
        raise ExportError(words)
    return words


def _require_numbers(parity: Parity) -> None:
    if not parity.max_abs_difference < float("inf"):
        raise ExportError(f"it answers some of {parity.images} images with what are no numbers (NaN or infinite)")


def _one_by_one(batches: Iterable[Tensor], most: int, varied: bool) -> Iterable[Tensor]:
    for images in batches:
        for image in images[: len(images) if varied else most].split(1):
            yield from (image, image + 1, image - 1) if varied else (image,)
        most -= len(images)
        if most <= 0 and not varied:
            return


@torch.no_grad()
def right_answers(run: Logits, batches: Iterable[tuple[Tensor, Tensor]]) -> Tensor:
    """Which images are answered with their label, bool `[N]`; what is no number is no answer."""
    hits = []
    for images, labels in batches:
        logits = run(images)
        hits.append((answers(logits) == labels) & logits.isfinite().all(1))
    return torch.cat(hits)


def accuracy(run: Logits, batches: Iterable[tuple[Tensor, Tensor]]) -> float:
    """Share of images that are answered with their label."""
    return float(right_answers(run, batches).float().mean())
