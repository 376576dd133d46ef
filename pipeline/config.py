"""Configuration: typed sections, YAML presets, `key=value` overrides, and one-line answers to mistakes."""

from __future__ import annotations

import difflib
import json
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal, cast

import torch
import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator, model_validator
from timm.optim import create_optimizer_v2, list_optimizers
from timm.scheduler.scheduler import Scheduler
from torch import nn

from ..latency_tables.targets import FormatName
from ..models import BENCHMARKS, NasBench201Space, Space, any_space
from .errors import UserError
from .schedule import make_scheduler
from .search.constraints import Constraint
from .search.quantities import Quantity

PRESETS_FOLDER = Path(__file__).parent / "presets"


class Section(BaseModel):
    """A part of the configuration: unknown keys are refused, values cannot change."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)


class DataConfig(Section):
    """Which images, and how many of the training images score paths instead of training."""

    source: str = "digits"
    train_images: int | None = Field(
        default=None, ge=2, description="train the supernet on so many of the training images; empty means on all"
    )
    heldout: float = Field(default=0.2, gt=0, lt=1, description="share of the training images that only score paths")


class SizeConfig(Section):
    """A size that a network is trained, stated or exported at."""

    resolution: int = Field(ge=16, le=1024, description="height and width of the images, in pixels")
    width: float = Field(default=1.0, ge=0.1, le=4.0, description="multiplier of every channel count")


class ProxySizeConfig(SizeConfig):
    """The size that a supernet is trained at."""

    cells: int | None = Field(
        default=None, ge=1, le=5, description="space nasbench201: cells per stage; empty means its own networks' 5"
    )


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
    """Supernet training, under strict fairness (FairNAS, Algorithm 1) unless another sampling is named."""

    sampling: Literal[
        "strict", "expectation", "expectation-scaled", "spos", "one-shot", "proportional", "independent"
    ] = Field(default="strict", description="which paths an update trains")
    expectation_passes: int = Field(default=6, ge=1, description="k: passes per update of the expectation samplings")
    path_dropout: float = Field(
        default=0.05, ge=0, lt=1, description="one-shot: chance at the end that all candidates of a layer were dropped"
    )
    proportional_pool: int = Field(default=1000, ge=1, description="architectures that proportional sampling draws on")
    unsampled: Literal["frozen", "drift"] = Field(
        default="frozen", description="whether momentum and weight decay move a block that the loss did not reach"
    )
    epochs: int = Field(
        ge=1, description="under strict fairness; other samplings get as many backward passes, so they see more images"
    )
    batch_size: int = Field(ge=2)
    lr: float = Field(default=0.045, gt=0)
    warmup_epochs: int = Field(default=0, ge=0)
    momentum: float = Field(default=0.9, ge=0, lt=1)
    nesterov: bool = False
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
    int8_table: str | None = Field(
        default=None, description="path of the table of quantised networks, for latency_int8_ms"
    )
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
    memory_gib: float = Field(
        default=2.0, gt=0, description="of images on their way through a path; decides how long it takes, never a score"
    )
    random_paths: int = Field(default=50, ge=1, description="random paths whose accuracy is reported")


class ControllerConfig(Section):
    """The LSTM that proposes choices, trained by PPO; the papers give none of its sizes."""

    hidden: int = Field(default=100, ge=1, description="units of the LSTM")
    embedding: int = Field(default=32, ge=1, description="numbers that stand for a choice")
    lr: float = Field(default=3.5e-4, gt=0)
    epochs: int = Field(default=4, ge=1, description="PPO updates per generation, over all of its proposals")
    clip: float = Field(default=0.2, gt=0, lt=1, description="how far PPO lets a probability move, as a share")
    entropy: float = Field(default=0.01, ge=0, description="weight of the entropy, which keeps proposals varied")
    baseline_decay: float = Field(default=0.9, ge=0, lt=1, description="of the moving average of the rewards")
    gradient_norm: float = Field(default=1.0, gt=0, description="gradients are clipped to it")


class HierarchicalMutationConfig(Section):
    """Who decides how a child mutates (MoreMNAS; FairNAS, section 4.1)."""

    ratio: float = Field(default=0.8, ge=0, le=1, description="share of the children that mutate at all")
    random: float = Field(default=0.2, ge=0, description="share of those that change at random")
    reinforced: float = Field(default=0.65, ge=0, description="share that the controller decides")
    prior: float = Field(default=0.15, ge=0, description="share that takes what survivors carry")
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

    exponent: float = Field(default=-0.07, le=0)
    targets: dict[Quantity, float] = Field(
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

    alive: int = Field(default=100, ge=1, description="genomes that live at a time")
    sample: int = Field(default=25, ge=1, description="of which the best becomes a parent")
    objective: Quantity = "accuracy"


class SearchConfig(Section):
    """Search over the architectures of the space."""

    algorithm: Literal["nsga2-reinforced", "nsga2", "random", "mnasnet", "regularized-evolution"] = "nsga2-reinforced"
    population: int = Field(default=64, ge=4)
    generations: int = Field(ge=1)
    objectives: dict[Quantity, Literal["maximize", "minimize"]] = {"accuracy": "maximize", "latency_ms": "minimize"}
    constraints: list[str] = Field(
        default=["latency_ms<=median"],
        description="cost<=number, or <=median: what the median network of the space has; accuracy>=number",
    )
    picks: int = Field(default=3, ge=1)
    workers: int | None = Field(
        default=None, ge=1, description="threads that score, each with a copy of the supernet; empty: one per core"
    )
    chunk: int = Field(
        default=16, ge=1, description="architectures that a worker scores together; a kill loses no more than those"
    )
    storage: str | None = Field(
        default=None,
        exclude=True,  # it may hold a password, and decides nothing
        repr=False,
        description="postgresql://USER@HOST/DATABASE, where several commands share the search",
    )
    crossover_probability: float = Field(default=0.9, ge=0, le=1)
    mutation_probability: float | None = Field(
        default=None, gt=0, le=1, description="per layer; empty means 1 / layers"
    )
    hierarchical_mutation: HierarchicalMutationConfig = HierarchicalMutationConfig()
    mnasnet: MnasNetConfig = MnasNetConfig()
    regularized_evolution: RegularizedEvolutionConfig = RegularizedEvolutionConfig()

    @field_validator("constraints")
    @classmethod
    def _constraints_parse(cls, value: list[str]) -> list[str]:
        constraints = [Constraint.parse(text) for text in value]
        quantities = [constraint.quantity for constraint in constraints]
        if len(set(quantities)) < len(quantities):
            raise ValueError("a quantity can be limited once")
        return [str(constraint) for constraint in constraints]

    @property
    def quantities(self) -> set[str]:
        """Everything that is aimed at or limited."""
        return {*self.objectives, *(constraint.quantity for constraint in self.parsed_constraints)}

    @property
    def parsed_constraints(self) -> list[Constraint]:
        """The constraints, read."""
        return [Constraint.parse(text) for text in self.constraints]

    @field_validator("objectives")
    @classmethod
    def _objectives_conflict(cls, value: dict[str, str]) -> dict[str, str]:
        if len(value) < 2:
            raise ValueError("a multi-objective search needs at least two objectives")
        return value


class DistillationConfig(Section):
    """Knowledge distillation: the loss also counts the distance to a teacher's answers (Hinton et al. 2015)."""

    teacher: str | None = Field(
        default=None, description="a published name, timm model or module:attribute; empty: none"
    )
    weights: str | None = Field(default=None, description="path of the teacher's .safetensors; empty: as it is built")
    share: float = Field(default=0.5, gt=0, le=1, description="of the loss that the teacher decides")
    temperature: float = Field(default=1.0, gt=0)

    @model_validator(mode="after")
    def _weights_have_a_teacher(self) -> DistillationConfig:
        if self.weights is not None and self.teacher is None:
            raise ValueError("weights are given, but no teacher that they are of")
        return self


class RetrainConfig(Section):
    """Stand-alone training of the picks; optimisers, schedules and EMA are timm's."""

    epochs: int = Field(ge=1)
    batch_size: int = Field(ge=2)
    resolution: int | None = Field(
        default=None, ge=32, description="training resolution; empty means the deploy resolution"
    )
    first_resolution: int | None = Field(
        default=None, ge=32, description="of the first `first_epochs`: smaller images cost less, and cost no accuracy"
    )
    first_epochs: int = Field(default=0, ge=0)
    init: Literal["scratch", "inherited", "weights"] = Field(
        default="scratch",
        description="random weights, as the paper; those of the path in the supernet; or those of the file `weights`",
    )
    weights: str | None = Field(
        default=None, description="with init=weights: a .safetensors; a classifier of other classes starts anew"
    )
    distillation: DistillationConfig = DistillationConfig()
    validate_epochs: int = Field(default=1, ge=1, description="validate after every so many epochs, and the last")
    opt: str = Field(default="sgd", description="one of timm's optimisers")
    opt_args: dict[str, float | bool] = {}
    lr: float = Field(gt=0)
    momentum: float = Field(default=0.9, ge=0, lt=1)
    weight_decay: float = Field(ge=0)
    clip_grad: float | None = Field(
        default=None, gt=0, description="length to which a longer gradient, of all weights together, is shortened"
    )
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


class HardSwishConfig(Section):
    """Fine-tuning after hard-Swish took the place of Swish, by the recipe of `retrain` at a lower learning rate."""

    epochs: int = Field(default=4, ge=1)
    lr_factor: float = Field(default=0.1, gt=0, le=1, description="of retrain.lr")


class RankConfig(Section):
    """How the supernet's ranking is certified, and what is measured of its choice blocks."""

    architectures: int | None = Field(
        default=1000, ge=2, description="how many of a table of the truth are scored; empty means all"
    )
    networks: int = Field(default=12, ge=2, description="how many are trained stand-alone where there is no table")
    spacing: Literal["random", "quantiles", "even"] = Field(
        default="quantiles",
        description="which: any; every k-th in the order of a quantity; or evenly spaced values of it, which flatters",
    )
    spaced_by: Literal["madds", "params", "truth"] = "madds"
    seed: int = Field(default=0, ge=0, description="of that choice: apart from the run's, to compare runs on the same")
    resamples: int = Field(default=1000, ge=100, description="of the bootstrap")
    confidence: float = Field(default=0.95, gt=0, lt=1)
    bn_architectures: int = Field(
        default=100, ge=0, description="scored in every batch-norm mode, to compare the modes; 0 leaves that out"
    )
    similarity_images: int = Field(default=32, ge=2, description="on which the blocks of a layer are compared")
    similarity_paths: int = Field(default=4, ge=1, description="random paths that lead these images to a layer")


class Int8Config(Section):
    """Static quantisation to 8 bits."""

    calibration_images: int = Field(default=256, ge=8, description="training images that ranges are taken from")
    selection_images: int = Field(
        default=512, ge=8, description="training images, set apart from those, that ways of quantising are compared on"
    )
    methods: list[Literal["minmax", "percentile", "entropy"]] = Field(
        default=["minmax", "percentile", "entropy"], min_length=1, description="of calibration: the best is taken"
    )
    activations: Literal["unsigned", "signed"] = Field(
        default="unsigned", description="of onnx-int8: what x86 multiplies fast; TensorRT's are always signed"
    )
    max_drop: float = Field(default=0.01, ge=0, le=1, description="of top-1 on the validation images, by any format")
    max_float_layers: int = Field(default=8, ge=0, description="sensitive layers that may stay in float")
    min_speedup: float = Field(
        default=1.0, ge=0, description="over float, where the target is this machine: less, and int8 is withheld"
    )


class TuneConfig(Section):
    """Quantisation-aware fine-tuning, where quantising a trained network loses more than `int8.max_drop`."""

    epochs: int = Field(default=0, ge=0, description="0 does without")
    batch_size: int = Field(default=64, ge=2)
    lr: float = Field(
        default=2e-4,
        gt=0,
        description="of AdamW: about the share of a channel's range that a weight moves a step",
    )
    momentum: float = Field(default=0.9, ge=0, lt=1, description="first beta of AdamW")
    weight_decay: float = Field(default=0.0, ge=0)
    augment: AugmentConfig = AugmentConfig()


class TensorRtConfig(Section):
    """TensorRT engines."""

    library: Literal["auto", "tensorrt", "tensorrt_rtx"] = "auto"
    compute_capabilities: list[str] = Field(
        default=[],
        description="of the GPUs to build for, such as 8.6; empty: this machine's, or all that RTX knows",
    )
    batch: tuple[int, int, int] = Field(default=(1, 1, 32), description="smallest, usual and largest batch")

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
    force: bool = Field(default=False, description="also write formats that fail their check; the passport says so")
    opset: int = Field(default=18, ge=18)
    parity_images: int = Field(default=256, ge=1)
    tolerance: float = Field(
        default=1e-4, gt=0, description="largest logit difference of float32 formats, relative to the largest logit"
    )
    mean: tuple[float, float, float] | None = Field(
        default=None, description="of the images' channels in 0..1, as a network from elsewhere expects them"
    )
    std: tuple[float, float, float] | None = Field(default=None, description="likewise; empty means the images' own")
    latency_rounds: int = Field(default=50, ge=3)
    sustained_s: float = Field(default=0.0, ge=0, description="run every format for so many seconds: what heat leaves")
    int8: Int8Config = Int8Config()
    tune: TuneConfig = TuneConfig()
    tensorrt: TensorRtConfig = TensorRtConfig()
    litert: LiteRtConfig = LiteRtConfig()
    data_license: str | None = Field(default=None, description="of the images, for the passport")
    sign_with: str | None = Field(
        default=None,
        exclude=True,  # whose key it is decides nothing that is measured
        description="path of an ssh key that signs the checksums",
    )

    @field_validator("std")
    @classmethod
    def _std_divides(cls, value: tuple[float, float, float] | None) -> tuple[float, float, float] | None:
        if value is not None and not all(0 < each < math.inf for each in value):
            raise ValueError("expected three numbers above 0")
        return value

    @field_validator("formats")
    @classmethod
    def _formats_are_distinct(cls, value: list[FormatName]) -> list[FormatName]:
        return list(dict.fromkeys(value))


class Config(Section):
    """Everything that decides a run."""

    preset: str
    target: str = "pixel"
    seed: int = Field(default=0, ge=0)
    space: str = "b"
    data: DataConfig = DataConfig()
    proxy: ProxySizeConfig
    deploy: SizeConfig
    supernet: SupernetConfig
    latency: LatencyConfig = LatencyConfig()
    scoring: ScoringConfig = ScoringConfig()
    search: SearchConfig
    retrain: RetrainConfig
    hard_swish: HardSwishConfig = HardSwishConfig()
    rank: RankConfig = RankConfig()
    export: ExportConfig = ExportConfig()

    @field_validator("space")
    @classmethod
    def _space_exists(cls, value: str) -> str:
        any_space(value)
        return value

    @model_validator(mode="after")
    def _images_fit_the_space(self) -> Config:
        if self.space not in BENCHMARKS and min(self.proxy.resolution, self.deploy.resolution) < 32:
            raise ValueError(f"space {self.space} halves its input five times: resolutions must be at least 32")
        if self.proxy.cells is not None and self.space != NasBench201Space.name:
            raise ValueError(f"proxy.cells is for space {NasBench201Space.name}, not for {self.space}")
        if self.space in BENCHMARKS and self.supernet.init == "aligned":
            raise ValueError(f"supernet.init=aligned is for mobile spaces, not for {self.space}")
        return self

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

    @property
    def proxy_space(self) -> Space:
        """The search space as the supernet is trained in it."""
        space = any_space(self.space).scaled(self.proxy.width)
        return space.shortened(self.proxy.cells) if isinstance(space, NasBench201Space) and self.proxy.cells else space

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
    values = {"preset": Path(preset).stem} | _read_preset(preset)  # a run's own config.yaml names the one it had
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
