"""What may be done to a training image."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal, get_args

from PIL import Image

from ..errors import UserError
from .images import Channels

Level = Literal["none", "flip", "crop"]


@dataclass(frozen=True, slots=True)
class Augment:
    """How training images are varied.

    Attributes:
        level: `none` resizes, `flip` also mirrors, `crop` takes a random part and mirrors.
        scale: smallest and largest part of the area that a random crop shows.
        flip: probability of mirroring left and right; 0 where left and right matter, as for digits.
        auto: one of timm's policies on top, for example `rand-m9-mstd0.5` or `original`; needs worker processes.

    Raises:
        UserError: a value makes no sense, or timm knows no such policy.
    """

    level: Level = "crop"
    scale: tuple[float, float] = (0.35, 1.0)
    flip: float = 0.5
    auto: str | None = None

    def __post_init__(self) -> None:
        if self.level not in get_args(Level):
            raise UserError(f"unknown augmentation level {self.level}; choose one of {', '.join(get_args(Level))}")
        if not 0 < self.scale[0] <= self.scale[1] <= 1:
            raise UserError(
                f"augmentation scale {tuple(self.scale)}: give two parts of the area with 0 < low <= high <= 1"
            )
        if not 0 <= self.flip <= 1:
            raise UserError(f"augmentation flip {self.flip}: give a probability within 0..1")
        if self.auto is not None:
            auto_policy(self.auto, resolution=224, mean=(0.5, 0.5, 0.5))


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
