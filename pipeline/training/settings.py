"""Settings of distillation, for whatever training has it."""

from __future__ import annotations

from pydantic import Field, model_validator

from ...common.kinds import Number, Text
from ...common.settings import Section


class DistillationConfig(Section):
    """Knowledge distillation: the loss also counts the distance to a teacher's answers (Hinton et al. 2015)."""

    teacher: Text | None = Field(
        default=None, description="a published name, timm model or module:attribute; empty: none"
    )
    weights: Text | None = Field(default=None, description="path of the teacher's .safetensors; empty: as it is built")
    share: Number = Field(default=0.5, gt=0, le=1, description="of the loss that the teacher decides")
    temperature: Number = Field(default=1.0, gt=0, le=1000)

    @model_validator(mode="after")
    def _weights_have_a_teacher(self) -> DistillationConfig:
        if self.weights is not None and self.teacher is None:
            raise ValueError("weights are given, but no teacher that they are of")
        return self
