"""Settings of the supernet: how it is trained, and how its paths are scored."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from ...common.kinds import Number, OneOf, Switch, Whole
from ...common.settings import Section
from ..data.settings import Augment
from .sampling import SAMPLINGS


class SupernetConfig(Section):
    """Supernet training, under strict fairness (FairNAS, Algorithm 1) unless another sampling is named."""

    sampling: Annotated[str, OneOf(SAMPLINGS)] = Field(default="strict", description="which paths an update trains")
    expectation_passes: Whole = Field(
        default=6, ge=1, le=1000, description="k: passes per update of the expectation samplings"
    )
    path_dropout: Number = Field(
        default=0.05, ge=0, lt=1, description="one-shot: chance at the end that all candidates of a layer were dropped"
    )
    proportional_pool: Whole = Field(
        default=1000, ge=1, le=1_000_000, description="architectures that proportional sampling draws on"
    )
    unsampled: Literal["frozen", "drift"] = Field(
        default="frozen", description="whether momentum and weight decay move a block that the loss did not reach"
    )
    epochs: Whole = Field(
        ge=1,
        le=1_000_000,
        description="under strict fairness; other samplings get as many backward passes, so they see more images",
    )
    batch_size: Whole = Field(ge=2, le=65_536)
    lr: Number = Field(default=0.045, gt=0, le=1000)
    warmup_epochs: Whole = Field(default=0, ge=0)
    momentum: Number = Field(default=0.9, ge=0, lt=1)
    nesterov: Switch = False
    weight_decay: Number = Field(default=4e-5, ge=0, le=1)
    label_smoothing: Number = Field(default=0.0, ge=0, lt=1)
    init: Literal["independent", "aligned"] = Field(
        default="independent", description="choice blocks start as the papers' do, or all as the same function"
    )
    shared_gradients: Literal["sum", "mean"] = Field(
        default="sum",
        description="how stem and head add up the gradients of the m paths of a step; the paper's text sums",
    )
    augment: Augment = Augment()
    amp: Literal["none", "bfloat16"] = Field(default="none", description="mixed precision, on GPUs only")
    checkpoint_seconds: Number = Field(default=30.0, ge=0, le=1e6)


class ScoringConfig(Section):
    """How a path of the supernet is scored on the held-out images."""

    bn: Literal["none", "recalibrate", "batch"] = Field(
        default="recalibrate",
        description="batch-norm statistics of a scored path: inherited, recomputed, or of each batch",
    )
    calibration_images: Whole = Field(default=512, ge=2, le=10_000_000)
    batch_size: Whole = Field(default=256, ge=2, le=65_536)
    memory_gib: Number = Field(
        default=2.0,
        gt=0,
        le=65_536,
        description="of images on their way through a path; decides how long it takes, never a score",
    )
    random_paths: Whole = Field(default=50, ge=1, le=1_000_000, description="random paths whose accuracy is reported")
