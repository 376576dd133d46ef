"""Hold out a part of the training images: the search may look at it, training may not."""

from __future__ import annotations

import torch
from torch import Tensor

from ...common.text import plain
from ..errors import UserError


def hold_out(labels: Tensor, classes: list[str], fraction: float, seed: int) -> tuple[Tensor, Tensor]:
    """Split every class in the same proportion, at least one image on either side.

    Args:
        labels: int64 `[N]`.
        classes: class names, for messages.
        fraction: part of each class to hold out, within 0..1.
        seed: the same seed gives the same split.

    Returns:
        Indices to train on and indices held out, each ascending.

    Raises:
        UserError: the fraction is not within 0..1, or a class has too few images.
    """
    if not 0 < fraction < 1:
        raise UserError(f"the held-out part of the training images is {fraction}; it must lie between 0 and 1")
    generator = torch.Generator().manual_seed(seed)
    held = torch.zeros(len(labels), dtype=torch.bool)
    # Sorted once: to look for each of thousands of classes in all labels would take minutes.
    counts = torch.bincount(labels, minlength=len(classes)).tolist()
    for name, members in zip(classes, torch.argsort(labels, stable=True).split(counts), strict=True):
        if len(members) < 2:
            raise UserError(
                f"class {plain(name)} has {len(members)} training images, too few to hold one out; add images"
            )
        count = min(max(1, round(fraction * len(members))), len(members) - 1)
        held[members[torch.randperm(len(members), generator=generator)[:count]]] = True
    return torch.nonzero(~held).flatten(), torch.nonzero(held).flatten()
