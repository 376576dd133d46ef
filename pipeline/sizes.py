"""Sizes that networks are trained, stated or exported at."""

from __future__ import annotations

from pydantic import Field

from ..common.kinds import Number, Whole
from ..common.settings import Section


class SizeConfig(Section):
    """A size that a network is trained, stated or exported at."""

    resolution: Whole = Field(ge=16, le=1024, description="height and width of the images, in pixels")
    width: Number = Field(default=1.0, ge=0.1, le=4.0, description="multiplier of every channel count")


class ProxySizeConfig(SizeConfig):
    """The size that a supernet is trained at."""

    cells: Whole | None = Field(
        default=None, ge=1, le=5, description="space nasbench201: cells per stage; empty means its own networks' 5"
    )
