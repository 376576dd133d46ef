"""Settings of ONNX in 8 bits."""

from __future__ import annotations

from typing import Literal, TypeAlias

from pydantic import Field

from ...common.kinds import Number, Whole
from ...common.settings import Section

Method: TypeAlias = Literal["minmax", "percentile", "entropy"]


class Int8Settings(Section):
    """Static quantisation to 8 bits."""

    calibration_images: Whole = Field(
        default=256, ge=8, le=1_000_000, description="training images that ranges are taken from"
    )
    selection_images: Whole = Field(
        default=512,
        ge=8,
        le=1_000_000,
        description="training images, set apart from those, that ways of quantising are compared on",
    )
    methods: list[Method] = Field(
        default=["minmax", "percentile", "entropy"], min_length=1, description="of calibration: the best is taken"
    )
    activations: Literal["unsigned", "signed"] = Field(
        default="unsigned", description="of onnx-int8: what x86 multiplies fast; TensorRT's are always signed"
    )
    max_drop: Number = Field(default=0.01, ge=0, le=1, description="of top-1 on the validation images, by any format")
    max_float_layers: Whole = Field(default=8, ge=0, le=10_000, description="sensitive layers that may stay in float")
    min_speedup: Number = Field(
        default=1.0,
        ge=0,
        le=1000,
        description="over float, where the target is this machine: less, and int8 is withheld",
    )

    @property
    def signed(self) -> bool:
        """Whether activations are signed, and symmetric: all that TensorRT reads."""
        return self.activations == "signed"
