"""Settings of stand-alone training."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal, cast

from pydantic import Field, model_validator

from ...common.kinds import Number, Switch, Text, Whole
from ...common.settings import Section
from ..data.settings import Augment
from ..training.settings import DistillationConfig

if TYPE_CHECKING:  # torch and timm take seconds, and a misspelt key is found without them
    import torch
    from timm.scheduler.scheduler import Scheduler
    from torch import nn


class RetrainConfig(Section):
    """Stand-alone training of the picks; optimisers, schedules and EMA are timm's."""

    epochs: Whole = Field(ge=1, le=1_000_000)
    batch_size: Whole = Field(ge=2, le=65_536)
    resolution: Whole | None = Field(
        default=None, ge=32, le=1024, description="training resolution; empty means the deploy resolution"
    )
    first_resolution: Whole | None = Field(
        default=None,
        ge=32,
        le=1024,
        description="of the first `first_epochs`: smaller images cost less, and cost no accuracy",
    )
    first_epochs: Whole = Field(default=0, ge=0)
    init: Literal["scratch", "inherited", "weights"] = Field(
        default="scratch",
        description="random weights, as the paper; those of the path in the supernet; or those of the file `weights`",
    )
    weights: Text | None = Field(
        default=None, description="with init=weights: a .safetensors; a classifier of other classes starts anew"
    )
    distillation: DistillationConfig = DistillationConfig()
    validate_epochs: Whole = Field(default=1, ge=1, description="validate after every so many epochs, and the last")
    opt: Text = Field(default="sgd", description="one of timm's optimisers")
    opt_args: dict[Text, Number | Switch] = Field(default={})
    lr: Number = Field(gt=0, le=1000)
    momentum: Number = Field(default=0.9, ge=0, lt=1)
    weight_decay: Number = Field(ge=0, le=1)
    clip_grad: Number | None = Field(
        default=None,
        gt=0,
        le=1e6,
        description="length to which a longer gradient, of all weights together, is shortened",
    )
    sched: Literal["cosine", "tanh", "step", "poly"] = "cosine"
    sched_args: dict[Text, Number | Switch] = Field(default={})
    warmup_epochs: Whole = Field(default=0, ge=0)
    label_smoothing: Number = Field(default=0.0, ge=0, lt=1)
    bn_momentum: Number = Field(default=0.1, gt=0, le=1, description="of the running batch-norm statistics")
    dropout: Number = Field(default=0.2, ge=0, lt=1)
    drop_path: Number = Field(default=0.0, ge=0, lt=1)
    ema_decay: Number | None = Field(default=None, gt=0, lt=1)
    augment: Augment = Augment()
    amp: Literal["none", "bfloat16"] = "none"
    checkpoint_seconds: Number = Field(default=30.0, ge=0, le=1e6)

    @model_validator(mode="after")
    def _init_has_its_weights(self) -> RetrainConfig:
        if (self.init == "weights") != (self.weights is not None):
            raise ValueError("init=weights and weights=PATH belong together")
        return self

    @model_validator(mode="after")
    def _first_epochs_have_a_resolution(self) -> RetrainConfig:
        if (self.first_resolution is None) != (self.first_epochs == 0):
            raise ValueError("first_resolution and first_epochs belong together")
        if self.first_epochs > self.epochs:
            raise ValueError(f"first_epochs ({self.first_epochs}) exceed epochs ({self.epochs})")
        return self

    def resolution_at(self, epoch: int, deploy: int) -> int:
        """Height and width of the training images of an epoch, where networks are deployed at `deploy` pixels."""
        if self.first_resolution is not None and epoch < self.first_epochs:
            return self.first_resolution
        return self.resolution or deploy

    def make_optimizer(self, network: nn.Module) -> torch.optim.Optimizer:
        """Timm's optimiser for a network."""
        from timm.optim import create_optimizer_v2

        options = cast(dict[str, Any], self.opt_args)
        return create_optimizer_v2(
            network, self.opt, lr=self.lr, momentum=self.momentum, weight_decay=self.weight_decay, **options
        )

    def make_scheduler(self, optimizer: torch.optim.Optimizer, steps_per_epoch: int) -> Scheduler:
        """Timm's schedule for an optimiser."""
        from ..training.schedule import make_scheduler

        options = cast(dict[str, Any], self.sched_args)
        return make_scheduler(
            optimizer,
            self.sched,
            epochs=self.epochs,
            warmup_epochs=self.warmup_epochs,
            steps_per_epoch=steps_per_epoch,
            **options,
        )


class HardSwishConfig(Section):
    """Fine-tuning after hard-Swish took the place of Swish, by the recipe of `retrain` at a lower learning rate."""

    epochs: Whole = Field(default=4, ge=1, le=1_000_000)
    lr_factor: Number = Field(default=0.1, gt=0, le=1, description="of retrain.lr")
