"""Settings of images: which, and how training images are varied."""

from __future__ import annotations

from typing import Literal

from pydantic import Field, field_validator

from ...common.kinds import Number, Text, Whole
from ...common.settings import Section


class DataConfig(Section):
    """Which images, and how many of the training images score paths instead of training."""

    source: Text = "digits"
    train_images: Whole | None = Field(
        default=None, ge=2, description="train the supernet on so many of the training images; empty means on all"
    )
    heldout: Number = Field(default=0.2, gt=0, lt=1, description="share of the training images that only score paths")


class Augment(Section):
    """How training images are varied.

    `none` resizes, `flip` also mirrors, `crop` takes a random part and mirrors; one of timm's policies on top, such as
    `rand-m9-mstd0.5` or `original`, needs worker processes.
    """

    level: Literal["none", "flip", "crop"] = "crop"
    scale: tuple[Number, Number] = Field(
        default=(0.35, 1.0), description="smallest and largest part that a random crop shows"
    )
    flip: Number = Field(default=0.5, ge=0, le=1, description="probability of mirroring left and right")
    auto: Text | None = Field(default=None, description="one of timm's policies, for example rand-m9-mstd0.5")

    @field_validator("scale")
    @classmethod
    def _scale_is_a_range(cls, value: tuple[float, float]) -> tuple[float, float]:
        if not 0 < value[0] <= value[1] <= 1:
            raise ValueError("expected two rising numbers, above 0 and at most 1")
        return value
