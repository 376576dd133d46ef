"""Settings of LiteRT files."""

from __future__ import annotations

from typing import Literal, TypeAlias

from pydantic import Field

from ...common.settings import Section

Layout: TypeAlias = Literal["nchw", "nhwc"]


class LiteRtSettings(Section):
    """LiteRT files."""

    # Channels last is how cameras and Android's image tools hold images, and how LiteRT computes; channels first is as
    # in PyTorch, and costs a transposition.
    layout: Layout = Field(default="nhwc", description="of the input images")
