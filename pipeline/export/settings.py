"""Settings of exporting: what is written, and how closely it must agree with PyTorch."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import BeforeValidator, Field, field_validator
from pydantic_core import PydanticKnownError

from ...common.kinds import Number, Switch, Text, Whole
from ...common.settings import Section
from ...exporters.formats import format_names
from ...exporters.litert.settings import LiteRtSettings
from ...exporters.onnx.settings import Int8Settings
from ...exporters.tensorrt.settings import TensorRtSettings
from ..data.settings import Augment


def _there_is_such_a_format(name: Any) -> Any:
    known = format_names()
    if name not in known:
        *others, last = map(repr, known)
        raise PydanticKnownError("literal_error", {"expected": f"{', '.join(others)} or {last}"})
    return name


FormatName = Annotated[str, BeforeValidator(_there_is_such_a_format)]
Channel = Annotated[Number, Field(ge=-1e6, le=1e6)]
Deviation = Annotated[Number, Field(gt=0, le=1e6)]


class TuneConfig(Section):
    """Quantisation-aware fine-tuning, where quantising a trained network loses more than `int8.max_drop`."""

    epochs: Whole = Field(default=0, ge=0, le=1_000_000, description="0 does without")
    batch_size: Whole = Field(default=64, ge=2, le=65_536)
    lr: Number = Field(
        default=2e-4,
        gt=0,
        le=10,
        description="of AdamW: about the share of a channel's range that a weight moves a step",
    )
    momentum: Number = Field(default=0.9, ge=0, lt=1, description="first beta of AdamW")
    weight_decay: Number = Field(default=0.0, ge=0, le=1)
    augment: Augment = Augment()


class ExportConfig(Section):
    """What is written for deployment, and how closely it must agree with PyTorch."""

    formats: list[FormatName] = Field(default=[], description="empty means those of the target")
    force: Switch = Field(default=False, description="also write formats that fail their check; the passport says so")
    opset: Whole = Field(default=18, ge=18, le=100)
    parity_images: Whole = Field(default=256, ge=1, le=1_000_000)
    tolerance: Number = Field(
        default=1e-4,
        gt=0,
        le=1,
        description="largest logit difference of float32 formats, relative to the largest logit",
    )
    latency_rounds: Whole = Field(default=50, ge=3, le=100_000)
    sustained_s: Number = Field(
        default=0.0, ge=0, le=1e6, description="run every format for so many seconds: what heat leaves"
    )
    mean: tuple[Channel, Channel, Channel] | None = Field(
        default=None, description="of the images' channels in 0..1, as a network from elsewhere expects them"
    )
    std: tuple[Deviation, Deviation, Deviation] | None = Field(
        default=None, description="likewise; empty means the images' own"
    )
    int8: Int8Settings = Int8Settings()
    tune: TuneConfig = TuneConfig()
    tensorrt: TensorRtSettings = TensorRtSettings()
    litert: LiteRtSettings = LiteRtSettings()
    data_license: Text | None = Field(default=None, description="of the images, for the passport")
    sign_with: Text | None = Field(
        default=None,
        exclude=True,  # whose key it is decides nothing that is measured
        description="path of an ssh key that signs the checksums",
    )

    @field_validator("formats")
    @classmethod
    def _formats_are_distinct(cls, value: list[FormatName]) -> list[FormatName]:
        return list(dict.fromkeys(value))
