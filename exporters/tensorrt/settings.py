"""Settings of TensorRT engines."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import Field, field_validator

from ...common.kinds import Text, Whole
from ...common.settings import Section


class TensorRtSettings(Section):
    """TensorRT engines."""

    # `auto` takes TensorRT where there is a GPU and none is named, otherwise TensorRT-RTX; or what is installed.
    library: Literal["auto", "tensorrt", "tensorrt_rtx"] = "auto"
    # Of TensorRT-RTX only, which knows those from Ampere on; TensorRT builds for this machine's GPU.
    compute_capabilities: list[Text] = Field(
        default=[],
        description="of the GPUs to build for, such as 8.6; empty: this machine's, or all that RTX knows",
    )
    batch: tuple[Whole, Whole, Whole] = Field(default=(1, 1, 32), description="smallest, usual and largest batch")

    @field_validator("compute_capabilities", mode="before")
    @classmethod
    def _yaml_reads_them_as_numbers(cls, value: Any) -> Any:
        return [str(each) if isinstance(each, float) else each for each in value] if isinstance(value, list) else value

    @field_validator("batch")
    @classmethod
    def _batches_rise(cls, value: tuple[int, int, int]) -> tuple[int, int, int]:
        if not 1 <= value[0] <= value[1] <= value[2]:
            raise ValueError("expected three rising numbers, from 1")
        return value
