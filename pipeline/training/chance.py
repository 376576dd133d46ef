"""Whether a top-1 accuracy is more than guessing gives."""

from __future__ import annotations

LEVEL = 0.01
"""How often a network that guesses is allowed to pass for one that has learnt."""


def chance_warning(top1: float, images: int, classes: int) -> str | None:
    """One line about an accuracy that guessing gives, too; None where it is more than that.

    Args:
        top1: share of images that were right, from 0 to 1.
        images: on how many that was found out.
        classes: among which guessing would choose, each alike.
    """
    from scipy.stats import binom

    if classes < 2 or images < 1 or round(top1 * images) > binom.ppf(1 - LEVEL, images, 1 / classes):
        return None
    return f"top-1 {top1:.1%} on {images:,} images is what chance gives for {classes:,} classes: nothing was learnt"
