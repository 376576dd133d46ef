"""Configuration: typed sections, YAML presets, `key=value` overrides, and one-line answers to mistakes."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal, cast

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator, model_validator

from ..common.errors import UnreadableFile
from ..common.names import safe_name
from ..common.reading import parse_yaml, read_yaml
from ..common.text import plain
from ..latency_tables.targets import FormatName
from ..models import BENCHMARKS, NasBench201Space, Space, any_space
from .errors import UserError
from .explaining import explain, may_be_secret, nearest
from .kinds import Number, Secret, Switch, Text, Whole
from .search.constraints import Constraint
from .search.quantities import Quantity

if TYPE_CHECKING:  # torch and timm take seconds, and a misspelt key is found without them
    import torch
    from timm.scheduler.scheduler import Scheduler
    from torch import nn

PRESETS_FOLDER = Path(__file__).parent / "presets"


class Section(BaseModel):
    """A part of the configuration: unknown keys are refused, values cannot change."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)


class DataConfig(Section):
    """Which images, and how many of the training images score paths instead of training."""

    source: Text = "digits"
    train_images: Whole | None = Field(
        default=None, ge=2, description="train the supernet on so many of the training images; empty means on all"
    )
    heldout: Number = Field(default=0.2, gt=0, lt=1, description="share of the training images that only score paths")


class SizeConfig(Section):
    """A size that a network is trained, stated or exported at."""

    resolution: Whole = Field(ge=16, le=1024, description="height and width of the images, in pixels")
    width: Number = Field(default=1.0, ge=0.1, le=4.0, description="multiplier of every channel count")


class ProxySizeConfig(SizeConfig):
    """The size that a supernet is trained at."""

    cells: Whole | None = Field(
        default=None, ge=1, le=5, description="space nasbench201: cells per stage; empty means its own networks' 5"
    )


class AugmentConfig(Section):
    """How training images are varied."""

    level: Literal["none", "flip", "crop"] = "crop"
    scale: tuple[Number, Number] = Field(
        default=(0.35, 1.0), description="smallest and largest part that a random crop shows"
    )
    flip: Number = Field(default=0.5, ge=0, le=1, description="probability of mirroring left and right")
    auto: Text | None = Field(default=None, description="one of timm's policies, for example rand-m9-mstd0.5")

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
    augment: AugmentConfig = AugmentConfig()
    amp: Literal["none", "bfloat16"] = Field(default="none", description="mixed precision, on GPUs only")
    checkpoint_seconds: Number = Field(default=30.0, ge=0, le=1e6)


class LatencyConfig(Section):
    """How blocks are timed, or which table is used instead of the target's own."""

    table: Text | None = Field(default=None, description="path of a latency table that replaces the target's")
    int8_table: Text | None = Field(
        default=None, description="path of the table of quantised networks, for latency_int8_ms"
    )
    rounds: Whole = Field(
        default=1000,
        ge=3,
        le=100_000,
        description="interleaved rounds at most; times that settle need fewer, and those that do not stop after a "
        "hundred, when they have run for 15 s",
    )
    calibration_networks: Whole = Field(
        default=10,
        ge=0,
        le=1000,
        description="whole networks timed to calibrate the sum of the blocks; 0 leaves it as it is",
    )
    validation_networks: Whole = Field(
        default=20,
        ge=0,
        le=10_000,
        description="other networks that a measured table must predict; 0 leaves it unvalidated",
    )
    allow_unvalidated: Switch = Field(
        default=False, description="search also with a table that failed its validation, or has none"
    )
    serial: Text | None = Field(default=None, description="of the phone, where several are attached")
    host: Text | None = Field(default=None, description="of the board: user@address, or a name known to ssh")
    threads: Whole = Field(
        default=1, ge=1, le=1024, description="that networks run on; this machine's CPU takes 1 only"
    )
    cpus: Text | None = Field(default=None, description="cores of phones and boards: big, little, or such as 4-7")


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


class SearchConfig(Section):
    """Search over the architectures of the space."""

    algorithm: Literal["nsga2-reinforced", "nsga2", "random", "mnasnet", "regularized-evolution"] = "nsga2-reinforced"
    population: Whole = Field(default=64, ge=4, le=100_000)
    generations: Whole = Field(ge=1, le=1_000_000)
    objectives: dict[Quantity, Literal["maximize", "minimize"]] = {"accuracy": "maximize", "latency_ms": "minimize"}
    constraints: list[Text] = Field(
        default=["latency_ms<=median"],
        description="cost<=number, or <=median: what the median network of the space has; accuracy>=number",
    )
    picks: Whole = Field(default=3, ge=1, le=1000)
    workers: Whole | None = Field(
        default=None,
        ge=1,
        le=512,
        description="threads that score, each with a copy of the supernet; empty: one per core",
    )
    chunk: Whole = Field(
        default=16,
        ge=1,
        le=100_000,
        description="architectures that a worker scores together; a kill loses no more than those",
    )
    storage: Secret | None = Field(
        default=None,
        exclude=True,  # it decides nothing
        description="postgresql://USER@HOST/DATABASE, where several commands share the search",
    )
    crossover_probability: Number = Field(default=0.9, ge=0, le=1)
    mutation_probability: Number | None = Field(
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
    opt_args: dict[Text, Number | Switch] = {}
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
    sched_args: dict[Text, Number | Switch] = {}
    warmup_epochs: Whole = Field(default=0, ge=0)
    label_smoothing: Number = Field(default=0.0, ge=0, lt=1)
    bn_momentum: Number = Field(default=0.1, gt=0, le=1, description="of the running batch-norm statistics")
    dropout: Number = Field(default=0.2, ge=0, lt=1)
    drop_path: Number = Field(default=0.0, ge=0, lt=1)
    ema_decay: Number | None = Field(default=None, gt=0, lt=1)
    augment: AugmentConfig = AugmentConfig()
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
        from .training.schedule import make_scheduler

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


class RankConfig(Section):
    """How the supernet's ranking is certified, and what is measured of its choice blocks."""

    architectures: Whole | None = Field(
        default=1000, ge=2, le=10_000_000, description="how many of a table of the truth are scored; empty means all"
    )
    networks: Whole = Field(
        default=12, ge=2, le=10_000, description="how many are trained stand-alone where there is no table"
    )
    spacing: Literal["random", "quantiles", "even"] = Field(
        default="quantiles",
        description="which: any; every k-th in the order of a quantity; or evenly spaced values of it, which flatters",
    )
    spaced_by: Literal["madds", "params", "truth"] = "madds"
    seed: Whole = Field(
        default=0,
        ge=0,
        description="of that choice: apart from the run's, to compare runs on the same",
    )
    resamples: Whole = Field(default=1000, ge=100, le=1_000_000, description="of the bootstrap")
    confidence: Number = Field(default=0.95, gt=0, lt=1)
    bn_architectures: Whole = Field(
        default=100,
        ge=0,
        le=1_000_000,
        description="scored in every batch-norm mode, to compare the modes; 0 leaves that out",
    )
    similarity_images: Whole = Field(
        default=32, ge=2, le=100_000, description="on which the blocks of a layer are compared"
    )
    similarity_paths: Whole = Field(
        default=4, ge=1, le=1_000_000, description="random paths that lead these images to a layer"
    )


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
    augment: AugmentConfig = AugmentConfig()


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


Channel = Annotated[Number, Field(ge=-1e6, le=1e6)]
Deviation = Annotated[Number, Field(gt=0, le=1e6)]


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


class Config(Section):
    """Everything that decides a run."""

    preset: Text
    target: Text = "pixel"
    seed: Whole = Field(default=0, ge=0)
    space: Text = "b"
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

    @field_validator("preset")
    @classmethod
    def _preset_can_name_a_folder(cls, value: str) -> str:
        return safe_name(value, "a preset")

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
    """Resolve a preset with overrides, and check all that can be checked without the images: see `check_settings`.

    Args:
        preset: name of a preset, or path of a YAML file of the same form.
        overrides: `section.key=value` texts; values are read as YAML.
        **top_level: `target`, `seed` and the like; `None` keeps the preset's.

    Raises:
        UserError: unknown preset or key (the nearest valid name is given), or a value out of range.
    """
    from .check_settings import check_settings

    config = read_config(preset, overrides, **top_level)
    check_settings(config)
    return config


def read_config(preset: str, overrides: Sequence[str] = (), **top_level: Any) -> Config:
    """The same, checked only as far as is known without importing torch or timm.

    Raises:
        UserError: as `load_config`.
    """
    values = {"preset": Path(preset).stem} | _read_preset(preset)  # a run's own config.yaml names the one it had
    values.update({key: value for key, value in top_level.items() if value is not None})
    given: set[str] = set()
    for text in overrides:
        key, value = _parsed(text)
        _refuse_swallowing(key, given)
        _override(values, key, value)
    try:
        return Config.model_validate(values)
    except ValidationError as error:
        raise UserError(explain(error, Config)) from None


def _read_preset(preset: str) -> dict[str, Any]:
    path = PRESETS_FOLDER / f"{preset}.yaml" if preset in list_presets() else Path(preset)
    if "\0" in preset or not path.exists():
        raise UserError(f"unknown preset '{preset}'{nearest(preset, list_presets())}")
    try:
        values = read_yaml(path)
    except UnreadableFile as error:
        raise UserError(str(error)) from None
    if not isinstance(values, dict):
        raise UserError(f"{path} is not a configuration: expected sections such as supernet: and search:")
    return values


def _parsed(text: str) -> tuple[str, Any]:
    """Key and value of an override. No error shows the value: it may hold a password."""
    key, separator, value = text.partition("=")
    key = key.strip()
    if not separator or not key:
        shown = plain(key) if len(key) <= 40 and "/" not in key else "..."
        raise UserError(f"--set {shown}: expected key=value, for example --set supernet.epochs=3")
    try:
        return key, parse_yaml(value, f"--set {plain(key)}: the value")
    except UnreadableFile as error:
        if may_be_secret(key.split("."), Config):  # reasons may quote a part of it
            raise UserError(f"--set {plain(key)}: the value is not valid YAML") from None
        raise UserError(str(error)) from None


def repeated_settings(overrides: Sequence[str]) -> list[str]:
    """Keys that are given more than once, with different values: the last one counts, and people should know."""
    given: dict[str, Any] = {}
    repeated: list[str] = []
    for key, value in map(_parsed, overrides):
        if key in given and given[key] != value:
            repeated.append(key)
        given[key] = value
    return list(dict.fromkeys(repeated))


def _refuse_swallowing(key: str, given: set[str]) -> None:
    """A whole section would take back what was set inside it."""
    for other in given:
        if other.startswith(f"{key}."):
            raise UserError(f"--set {plain(key)} would replace --set {plain(other)} before it: give it first")
    given.add(key)


def _override(values: dict[str, Any], key: str, value: Any) -> None:
    *sections, leaf = key.split(".")
    for section in sections:
        inner = values.setdefault(section, {})
        if not isinstance(inner, dict):
            raise UserError(f"--set {plain(key)}: {plain(section)} is a value, not a section")
        values = inner
    values[leaf] = value
