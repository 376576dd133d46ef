"""Settings of exporting: what is written, and how closely it must agree with PyTorch."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import Field, field_validator

from ...common.kinds import Number, Switch, Text, Whole
from ...common.settings import Section
from ...latency_tables.targets import FormatName
from ..data.settings import Augment

Channel = Annotated[Number, Field(ge=-1e6, le=1e6)]
Deviation = Annotated[Number, Field(gt=0, le=1e6)]


class Int8Config(Section):
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
    methods: list[Literal["minmax", "percentile", "entropy"]] = Field(
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


class TensorRtConfig(Section):
    """TensorRT engines."""

    library: Literal["auto", "tensorrt", "tensorrt_rtx"] = "auto"
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


class LiteRtConfig(Section):
    """LiteRT files."""

    layout: Literal["nchw", "nhwc"] = Field(default="nhwc", description="of the input images")


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
    int8: Int8Config = Int8Config()
    tune: TuneConfig = TuneConfig()
    tensorrt: TensorRtConfig = TensorRtConfig()
    litert: LiteRtConfig = LiteRtConfig()
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
