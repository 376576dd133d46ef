"""What may be done to a training image."""

from __future__ import annotations

from collections.abc import Callable

from PIL import Image

from ..errors import UserError
from .images import Channels


def auto_policy(policy: str, resolution: int, mean: Channels) -> Callable[[Image.Image], Image.Image]:
    """Make timm's augmentation of a name: `rand-...`, `augmix-...`, or an AutoAugment policy such as `original`.

    Raises:
        UserError: timm knows no such policy.
    """
    from timm.data.auto_augment import augment_and_mix_transform, auto_augment_transform, rand_augment_transform

    grey = tuple(min(255, round(255 * value)) for value in mean)
    settings = {"translate_const": int(resolution * 0.45), "img_mean": grey}  # as timm's own training script sets them
    make = {"rand": rand_augment_transform, "augmix": augment_and_mix_transform}
    try:
        return make.get(policy.split("-")[0], auto_augment_transform)(policy, settings)
    except (AssertionError, ValueError, KeyError, IndexError) as error:
        raise UserError(
            f"unknown augmentation policy {policy}; examples: rand-m9-mstd0.5, augmix-m3-w3, original"
        ) from error
