"""What may be done to a training image."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, get_args

from ..errors import UserError

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
            from .per_image import auto_policy

            auto_policy(self.auto, resolution=224, mean=(0.5, 0.5, 0.5))
