"""Settings that a search algorithm has of its own; without importing torch, which the algorithms need."""

from __future__ import annotations

from typing import Literal

from pydantic import Field, field_validator, model_validator

from ...common.kinds import Number, Whole
from ...common.settings import Section
from .quantities import Quantity


class ControllerConfig(Section):
    """The LSTM that proposes choices, trained by PPO; the papers give none of its sizes."""

    hidden: Whole = Field(default=100, ge=1, le=4096, description="units of the LSTM")
    embedding: Whole = Field(default=32, ge=1, le=4096, description="numbers that stand for a choice")
    lr: Number = Field(default=3.5e-4, gt=0, le=10)
    epochs: Whole = Field(default=4, ge=1, le=1000, description="PPO updates per generation, over all of its proposals")
    clip: Number = Field(default=0.2, gt=0, lt=1, description="how far PPO lets a probability move, as a share")
    entropy: Number = Field(
        default=0.01, ge=0, le=1000, description="weight of the entropy, which keeps proposals varied"
    )
    baseline_decay: Number = Field(default=0.9, ge=0, lt=1, description="of the moving average of the rewards")
    gradient_norm: Number = Field(default=1.0, gt=0, le=1e6, description="gradients are clipped to it")


class HierarchicalMutationConfig(Section):
    """Who decides how a child mutates (MoreMNAS; FairNAS, section 4.1)."""

    ratio: Number = Field(default=0.8, ge=0, le=1, description="share of the children that mutate at all")
    random: Number = Field(default=0.2, ge=0, le=1e6, description="share of those that change at random")
    reinforced: Number = Field(default=0.65, ge=0, le=1e6, description="share that the controller decides")
    prior: Number = Field(default=0.15, ge=0, le=1e6, description="share that takes what survivors carry")
    reward: Literal["rank", "hypervolume"] = Field(
        default="rank",
        description="of the controller: share of the population that is less fit, or what the front gained",
    )
    controller: ControllerConfig = ControllerConfig()

    @model_validator(mode="after")
    def _shares_have_a_sum(self) -> HierarchicalMutationConfig:
        if self.random + self.reinforced + self.prior <= 0:
            raise ValueError("one of random, reinforced and prior must be above 0")
        return self


class MnasNetConfig(Section):
    """PPO on accuracy * (cost / target) ** exponent, a factor per cost (MnasNet, equation 2)."""

    exponent: Number = Field(default=-0.07, ge=-100, le=0)
    targets: dict[Quantity, Number] = Field(
        default={}, description="by quantity; empty means its limit, or else the median of the first generation"
    )
    controller: ControllerConfig = ControllerConfig(epochs=10)

    @field_validator("targets")
    @classmethod
    def _targets_are_positive(cls, value: dict[str, float]) -> dict[str, float]:
        if any(target <= 0 for target in value.values()):
            raise ValueError("a target must be above 0")
        return value


class RegularizedEvolutionConfig(Section):
    """Regularised evolution (Real et al. 2019), for one objective."""

    alive: Whole = Field(default=100, ge=1, le=1_000_000, description="genomes that live at a time")
    sample: Whole = Field(default=25, ge=1, le=1_000_000, description="of which the best becomes a parent")
    objective: Quantity = "accuracy"
