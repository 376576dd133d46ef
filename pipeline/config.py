"""Configuration: typed sections, YAML presets, `key=value` overrides, and one-line answers to mistakes."""

from __future__ import annotations

import difflib
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal, cast

import torch
import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator, model_validator
from timm.optim import create_optimizer_v2, list_optimizers
from timm.scheduler.scheduler import Scheduler
from torch import nn

from ..models import list_spaces
from .errors import UserError
from .schedule import make_scheduler
from .search.constraints import Constraint

PRESETS_FOLDER = Path(__file__).parent / "presets"

Quantity = Literal["accuracy", "latency_ms", "madds", "params"]


class Section(BaseModel):
    """A part of the configuration: unknown keys are refused, values cannot change."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)


class DataConfig(Section):
    """Which images, and how many of the training images score paths instead of training."""

    source: str = "digits"
    heldout: float = Field(default=0.2, gt=0, lt=1, description="share of the training images that only score paths")


class SizeConfig(Section):
    """A size that a network is trained, stated or exported at."""

    resolution: int = Field(ge=32, le=1024, description="height and width of the images, in pixels")
    width: float = Field(default=1.0, ge=0.1, le=4.0, description="multiplier of every channel count")


class AugmentConfig(Section):
    """How training images are varied."""

    level: Literal["none", "flip", "crop"] = "crop"
    scale: tuple[float, float] = Field(
        default=(0.35, 1.0), description="smallest and largest part that a random crop shows"
    )
    flip: float = Field(default=0.5, ge=0, le=1, description="probability of mirroring left and right")
    auto: str | None = Field(default=None, description="one of timm's policies, for example rand-m9-mstd0.5")

    @field_validator("scale")
    @classmethod
    def _scale_is_a_range(cls, value: tuple[float, float]) -> tuple[float, float]:
        if not 0 < value[0] <= value[1] <= 1:
            raise ValueError("expected two rising numbers, above 0 and at most 1")
        return value


class SupernetConfig(Section):
    """Single-path supernet training under strict fairness (FairNAS, Algorithm 1)."""

    epochs: int = Field(ge=1)
    batch_size: int = Field(ge=2)
    lr: float = Field(default=0.045, gt=0)
    warmup_epochs: int = Field(default=0, ge=0)
    momentum: float = Field(default=0.9, ge=0, lt=1)
    weight_decay: float = Field(default=4e-5, ge=0)
    label_smoothing: float = Field(default=0.0, ge=0, lt=1)
    init: Literal["independent", "aligned"] = Field(
        default="independent", description="choice blocks start as the papers' do, or all as the same function"
    )
    shared_gradients: Literal["sum", "mean"] = Field(
        default="sum",
        description="how stem and head add up the gradients of the m paths of a step; the paper's text sums",
    )
    augment: AugmentConfig = AugmentConfig()
    amp: Literal["none", "bfloat16"] = Field(default="none", description="mixed precision, on GPUs only")
    checkpoint_seconds: float = Field(default=30.0, ge=0)


class LatencyConfig(Section):
    """How blocks are timed, or which table is used instead of the target's own."""

    table: str | None = Field(default=None, description="path of a latency table that replaces the target's")
    rounds: int = Field(default=100, ge=3, description="interleaved rounds at most; times that have settled need fewer")
    calibration_networks: int = Field(
        default=10, ge=0, description="whole networks timed to calibrate the sum of the blocks; 0 leaves it as it is"
    )
    validation_networks: int = Field(
        default=20, ge=0, description="other networks that a measured table must predict; 0 leaves it unvalidated"
    )
    allow_unvalidated: bool = Field(
        default=False, description="search also with a table that failed its validation, or has none"
    )
    serial: str | None = Field(default=None, description="of the phone, where several are attached")
    host: str | None = Field(default=None, description="of the board: user@address, or a name known to ssh")
    threads: int = Field(default=1, ge=1, description="that networks run on; this machine's CPU always uses 1")
    cpus: str | None = Field(default=None, description="cores of phones and boards: big, little, or such as 4-7")


class ScoringConfig(Section):
    """How a path of the supernet is scored on the held-out images."""

    bn: Literal["none", "recalibrate", "batch"] = Field(
        default="recalibrate",
        description="batch-norm statistics of a scored path: inherited, recomputed, or of each batch",
    )
    calibration_images: int = Field(default=512, ge=2)
    batch_size: int = Field(default=256, ge=2)
    random_paths: int = Field(default=50, ge=1, description="random paths whose accuracy is reported")


class SearchConfig(Section):
    """NSGA-II over the architectures of the space."""

    population: int = Field(default=64, ge=4)
    generations: int = Field(ge=1)
    objectives: dict[Quantity, Literal["maximize", "minimize"]] = {"accuracy": "maximize", "latency_ms": "minimize"}
    constraints: list[str] = Field(
        default=["latency_ms<=median"],
        description="quantity<=number, or <=median: what the median network of the space has",
    )
    picks: int = Field(default=3, ge=1)
    crossover_probability: float = Field(default=0.9, ge=0, le=1)
    mutation_probability: float | None = Field(
        default=None, gt=0, le=1, description="per layer; empty means 1 / layers"
    )

    @field_validator("constraints")
    @classmethod
    def _constraints_parse(cls, value: list[str]) -> list[str]:
        constraints = [Constraint.parse(text) for text in value]
        quantities = [constraint.quantity for constraint in constraints]
        if len(set(quantities)) < len(quantities):
            raise ValueError("a quantity can be limited once")
        return [str(constraint) for constraint in constraints]

    @field_validator("objectives")
    @classmethod
    def _objectives_conflict(cls, value: dict[str, str]) -> dict[str, str]:
        if len(value) < 2:
            raise ValueError("a multi-objective search needs at least two objectives")
        return value


class RetrainConfig(Section):
    """Stand-alone training of the picks; optimisers, schedules and EMA are timm's."""

    epochs: int = Field(ge=1)
    batch_size: int = Field(ge=2)
    resolution: int | None = Field(
        default=None, ge=32, description="training resolution; empty means the deploy resolution"
    )
    init: Literal["scratch", "inherited"] = Field(
        default="scratch", description="random weights, as the paper; or those of the path in the supernet"
    )
    opt: str = Field(default="sgd", description="one of timm's optimisers")
    opt_args: dict[str, float | bool] = {}
    lr: float = Field(gt=0)
    momentum: float = Field(default=0.9, ge=0, lt=1)
    weight_decay: float = Field(ge=0)
    sched: Literal["cosine", "tanh", "step", "poly"] = "cosine"
    sched_args: dict[str, float | bool] = {}
    warmup_epochs: int = Field(default=0, ge=0)
    label_smoothing: float = Field(default=0.0, ge=0, lt=1)
    bn_momentum: float = Field(default=0.1, gt=0, le=1, description="of the running batch-norm statistics")
    dropout: float = Field(default=0.2, ge=0, lt=1)
    drop_path: float = Field(default=0.0, ge=0, lt=1)
    ema_decay: float | None = Field(default=None, gt=0, lt=1)
    augment: AugmentConfig = AugmentConfig()
    amp: Literal["none", "bfloat16"] = "none"
    checkpoint_seconds: float = Field(default=30.0, ge=0)

    @field_validator("opt")
    @classmethod
    def _optimiser_exists(cls, value: str) -> str:
        known = [str(name) for name in list_optimizers()]
        if value not in known:
            raise ValueError(f"timm has no such optimiser{_nearest(value, known)}")
        return value

    @model_validator(mode="after")
    def _options_fit(self) -> RetrainConfig:
        """A misspelt option is found now, not after the search."""
        try:
            optimizer = self.make_optimizer(nn.Linear(1, 1))
        except (TypeError, ValueError) as error:
            raise ValueError(f"opt_args do not fit timm's {self.opt}: {error}") from None
        try:
            self.make_scheduler(optimizer, steps_per_epoch=1)
        except (TypeError, ValueError) as error:
            raise ValueError(f"sched_args do not fit timm's {self.sched} schedule: {error}") from None
        return self

    def make_optimizer(self, network: nn.Module) -> torch.optim.Optimizer:
        """Timm's optimiser for a network."""
        options = cast(dict[str, Any], self.opt_args)
        return create_optimizer_v2(
            network, self.opt, lr=self.lr, momentum=self.momentum, weight_decay=self.weight_decay, **options
        )

    def make_scheduler(self, optimizer: torch.optim.Optimizer, steps_per_epoch: int) -> Scheduler:
        """Timm's schedule for an optimiser."""
        options = cast(dict[str, Any], self.sched_args)
        return make_scheduler(
            optimizer,
            self.sched,
            epochs=self.epochs,
            warmup_epochs=self.warmup_epochs,
            steps_per_epoch=steps_per_epoch,
            **options,
        )


class ExportConfig(Section):
    """What is written for deployment, and how closely it must agree with PyTorch."""

    opset: int = Field(default=18, ge=18)
    parity_images: int = Field(default=256, ge=1)
    tolerance: float = Field(default=1e-4, gt=0, description="largest logit difference, relative to the largest logit")
    latency_rounds: int = Field(default=50, ge=3)


class Config(Section):
    """Everything that decides a run."""

    preset: str
    target: str = "pixel"
    seed: int = Field(default=0, ge=0)
    space: str = "b"
    data: DataConfig = DataConfig()
    proxy: SizeConfig
    deploy: SizeConfig
    supernet: SupernetConfig
    latency: LatencyConfig = LatencyConfig()
    scoring: ScoringConfig = ScoringConfig()
    search: SearchConfig
    retrain: RetrainConfig
    export: ExportConfig = ExportConfig()

    @field_validator("space")
    @classmethod
    def _space_exists(cls, value: str) -> str:
        if value not in list_spaces():
            raise ValueError(f"unknown search space '{value}': choose from {', '.join(list_spaces())}")
        return value

    @model_validator(mode="after")
    def _warmup_ends(self) -> Config:
        for name, section in (("supernet", self.supernet), ("retrain", self.retrain)):
            if section.warmup_epochs >= section.epochs:
                raise ValueError(
                    f"{name}.warmup_epochs ({section.warmup_epochs}) must be smaller than {name}.epochs "
                    f"({section.epochs})"
                )
        return self

    @model_validator(mode="after")
    def _inherited_weights_fit(self) -> Config:
        if self.retrain.init == "inherited" and self.proxy.width != self.deploy.width:
            raise ValueError(
                f"retrain.init=inherited needs proxy.width ({self.proxy.width:g}) equal to deploy.width "
                f"({self.deploy.width:g})"
            )
        return self

    def to_yaml(self) -> str:
        """The whole configuration, resolved."""
        return yaml.safe_dump(json.loads(self.model_dump_json()), sort_keys=False)


def list_presets() -> list[str]:
    """Names of the presets that come with the package."""
    return sorted(path.stem for path in PRESETS_FOLDER.glob("*.yaml"))


def load_config(preset: str, overrides: Sequence[str] = (), **top_level: Any) -> Config:
    """Resolve a preset with overrides.

    Args:
        preset: name of a preset, or path of a YAML file of the same form.
        overrides: `section.key=value` texts; values are read as YAML.
        **top_level: `target`, `seed` and the like; `None` keeps the preset's.

    Raises:
        UserError: unknown preset or key (the nearest valid name is given), or a value out of range.
    """
    values = _read_preset(preset)
    values["preset"] = Path(preset).stem
    values.update({key: value for key, value in top_level.items() if value is not None})
    for text in overrides:
        _override(values, text)
    try:
        return Config.model_validate(values)
    except ValidationError as error:
        raise UserError(_explain(error)) from None


def _read_preset(preset: str) -> dict[str, Any]:
    path = PRESETS_FOLDER / f"{preset}.yaml" if preset in list_presets() else Path(preset)
    if not path.is_file():
        raise UserError(f"unknown preset '{preset}'{_nearest(preset, list_presets())}")
    try:
        values = yaml.safe_load(path.read_text())
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise UserError(f"{path} is not valid YAML: {' '.join(str(error).split())}") from None
    if not isinstance(values, dict):
        raise UserError(f"{path} is not a configuration: expected sections such as supernet: and search:")
    return values


def _override(values: dict[str, Any], text: str) -> None:
    key, separator, value = text.partition("=")
    if not separator or not key:
        raise UserError(f"--set {text}: expected key=value, for example --set supernet.epochs=3")
    *sections, leaf = key.strip().split(".")
    for section in sections:
        values = values.setdefault(section, {})
        if not isinstance(values, dict):
            raise UserError(f"--set {text}: {section} is a value, not a section")
    try:
        values[leaf] = yaml.safe_load(value)
    except yaml.YAMLError:
        raise UserError(f"--set {text}: the value is not valid YAML") from None


def _explain(error: ValidationError) -> str:
    """The first mistake as one line."""
    mistake = error.errors()[0]
    where = ".".join(str(part) for part in mistake["loc"])
    if mistake["type"] == "extra_forbidden":
        return f"unknown key '{where}'{_nearest(str(mistake['loc'][-1]), _keys_beside(mistake['loc']))}"
    message = mistake["msg"].removeprefix("Value error, ")
    return f"{where}: {message} (got {mistake['input']!r})" if where else message


def _keys_beside(location: tuple[int | str, ...]) -> list[str]:
    """Valid names where an unknown key stood."""
    section: type[BaseModel] = Config
    for part in location[:-1]:
        section = section.model_fields[str(part)].annotation  # type: ignore[assignment]
    return list(section.model_fields)


def _nearest(name: str, names: Sequence[str]) -> str:
    close = difflib.get_close_matches(name, names, n=1, cutoff=0.5)
    return f": did you mean '{close[0]}'?" if close else f": choose from {', '.join(names)}"
