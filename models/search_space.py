"""Search spaces as data, and the architectures in them."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path
from typing import Any, Protocol, Self

import numpy as np
import yaml

from ..common.text import plain
from .blocks import Activation, Block, Cost

SPACES_FOLDER = Path(__file__).parent / "spaces"
_LONGEST_SHOWN = 40  # characters of a text in an error


@dataclass(frozen=True, slots=True)
class Choice:
    """One candidate of a layer: an inverted residual with this expansion and depthwise kernel."""

    expansion: int
    kernel: int

    def __str__(self) -> str:
        return f"E{self.expansion}K{self.kernel}"

    @classmethod
    def parse(cls, text: str) -> Choice:
        """Read `E3K7`.

        Raises:
            ValueError: the text is not of that form.
        """
        match = re.fullmatch(r"E(\d+)K(\d+)", text)
        if not match:
            raise ValueError(f"'{text}' is not a choice block: expected something like E3K7")
        return cls(int(match[1]), int(match[2]))


@dataclass(frozen=True, slots=True)
class Layer:
    """A searchable layer: its place in the network; every choice of the space is a candidate."""

    stage: int
    in_channels: int
    out_channels: int
    stride: int

    @property
    def has_skip(self) -> bool:
        """Whether its blocks add their input to their output."""
        return self.stride == 1 and self.in_channels == self.out_channels


@dataclass(frozen=True, slots=True)
class SearchSpace:
    """A macro-architecture with `len(choices)` candidates in each of `len(layers)` searchable layers.

    The fixed parts are a 3x3 stride-2 stem, a separable block, and a 1x1 head before pooling and the classifier.
    """

    name: str
    description: str
    stem_channels: int
    separable_channels: int
    layers: tuple[Layer, ...]
    head_channels: int
    choices: tuple[Choice, ...]
    width: float = 1.0

    @property
    def size(self) -> int:
        """Number of architectures."""
        return len(self.choices) ** len(self.layers)

    def scaled(self, width: float) -> SearchSpace:
        """The same space with every channel count multiplied by `width`, rounded to a multiple of 8."""
        if width == self.width:
            return self
        factor = width / self.width

        def scale(channels: int) -> int:
            return _divisible(channels * factor)

        layers = tuple(
            replace(layer, in_channels=scale(layer.in_channels), out_channels=scale(layer.out_channels))
            for layer in self.layers
        )
        return replace(
            self,
            stem_channels=scale(self.stem_channels),
            separable_channels=scale(self.separable_channels),
            layers=layers,
            head_channels=scale(self.head_channels),
            width=width,
        )

    def architecture(self, choices: Sequence[int], se_ratio: float = 0.0) -> Architecture:
        """The architecture that takes `choices[l]` in layer l."""
        return Architecture(self.name, tuple(int(c) for c in choices), se_ratio)

    def uniform(self, choice: int | str) -> Architecture:
        """The architecture that takes the same choice (an index, or a name such as `E3K3`) in every layer."""
        index = self.choices.index(Choice.parse(choice)) if isinstance(choice, str) else choice
        return self.architecture([index] * len(self.layers))

    def sample(self, rng: np.random.Generator) -> Architecture:
        """One architecture, uniformly at random."""
        return self.architecture(rng.integers(len(self.choices), size=len(self.layers)).tolist())

    def blocks(
        self, architecture: Architecture, resolution: int, num_classes: int = 1000, in_channels: int = 3
    ) -> tuple[Block, ...]:
        """Every block of the network, from stem to classifier, at an input of `resolution` pixels."""
        plain: Activation = "relu" if architecture.se_ratio else "relu6"
        stem = Block("conv", in_channels, self.stem_channels, resolution, 2, 3, activation=plain)
        separable = Block(
            "sepconv", self.stem_channels, self.separable_channels, stem.out_resolution, 1, 3, activation=plain
        )
        blocks = [stem, separable]
        for layer in range(len(self.layers)):
            blocks.append(
                self.layer_block(
                    layer,
                    architecture.choices[layer],
                    blocks[-1].out_resolution,
                    architecture.se_ratio,
                    architecture.hard_swish,
                )
            )
        resolution = blocks[-1].out_resolution
        blocks.append(Block("conv", self.layers[-1].out_channels, self.head_channels, resolution, activation=plain))
        blocks.append(Block("classifier", self.head_channels, num_classes, resolution, activation="none"))
        return tuple(blocks)

    def layer_block(
        self, layer: int, choice: int, resolution: int, se_ratio: float = 0.0, hard_swish: bool = False
    ) -> Block:
        """The block of one layer for one choice index, at an input of `resolution` pixels to that layer."""
        place, candidate = self.layers[layer], self.choices[choice]
        swish: Activation = "hswish" if hard_swish else "swish"
        return Block(
            "mbconv",
            place.in_channels,
            place.out_channels,
            resolution,
            place.stride,
            candidate.kernel,
            candidate.expansion,
            se_ratio,
            swish if se_ratio else "relu6",
        )

    def all_blocks(self, resolution: int, num_classes: int = 1000, in_channels: int = 3) -> tuple[Block, ...]:
        """Every distinct block that any architecture of the space can contain, in network order."""
        distinct: dict[Block, None] = {}
        per_choice = [
            self.blocks(self.uniform(index), resolution, num_classes, in_channels) for index in range(len(self.choices))
        ]
        for candidates in zip(*per_choice, strict=True):
            distinct.update(dict.fromkeys(candidates))
        return tuple(distinct)

    def cost(
        self, architecture: Architecture, resolution: int = 224, num_classes: int = 1000, in_channels: int = 3
    ) -> Cost:
        """Exact parameters and multiply-adds of a network, by arithmetic alone."""
        return sum((b.cost for b in self.blocks(architecture, resolution, num_classes, in_channels)), Cost())


@dataclass(frozen=True, slots=True)
class Architecture:
    """A genotype: one choice index per layer of a named space.

    Its text is the space, a colon and the choices (`b:E3K7-E3K3-...`), with `+se1` or `+se0.5` for the variant with
    squeeze-and-excitation (ratio to the block's input channels) and Swish in every searchable layer. `+hswish` after it
    stands for hard-Swish and hard sigmoid gates in their place (MobileNetV3, arXiv 1905.02244, sec. 5.2), which survive
    8 bits better; the weights are the same ones.
    """

    space: str
    choices: tuple[int, ...]
    se_ratio: float = 0.0
    hard_swish: bool = False

    def __post_init__(self) -> None:
        if self.hard_swish and not self.se_ratio:
            raise ValueError("hard-Swish stands for the Swish of networks with squeeze-and-excitation: there is none")

    def __str__(self) -> str:
        names = [str(choice) for choice in any_space(self.space).choices]
        suffix = f"+se{self.se_ratio:g}" if self.se_ratio else ""
        suffix += "+hswish" if self.hard_swish else ""
        return f"{self.space}:{'-'.join(names[index] for index in self.choices)}{suffix}"

    @classmethod
    def parse(cls, text: str) -> Architecture:
        """Read the text form.

        Raises:
            ValueError: unknown space, wrong number of layers, a choice that the space does not have, or a ratio out of
                range.
        """
        name, _, rest = text.strip().partition(":")
        blocks, plus, variant = rest.partition("+")
        shown = plain(text if len(text) <= _LONGEST_SHOWN else f"{text[:_LONGEST_SHOWN]}...")
        if not re.fullmatch(r"[\w-]+", name) or not re.fullmatch(r"[\w-]+", blocks):
            raise ValueError(f"'{shown}' is not an architecture: expected something like b:E3K7-E3K3-...")
        match = re.fullmatch(r"(?:se(\d(?:\.\d{1,4})?)(\+hswish)?)?", variant)
        if not match or (plus and not variant):
            raise ValueError(
                f"'{shown}' is not an architecture: '+{plain(variant[:_LONGEST_SHOWN])}' should be +se1, +se0.5 or "
                "such a ratio, or the same and +hswish"
            )
        space = any_space(name)
        names = blocks.split("-")
        if len(names) != len(space.layers):
            raise ValueError(f"'{shown}' names {len(names)} blocks; space {space.name} has {len(space.layers)} layers")
        known = {str(choice): index for index, choice in enumerate(space.choices)}
        unknown = [name for name in names if name not in known]
        if unknown:
            culprit = plain(unknown[0][:_LONGEST_SHOWN])
            raise ValueError(f"space {space.name} has no choice block '{culprit}': choose from {', '.join(known)}")
        se_ratio = float(match[1] or 0)
        if se_ratio and space.name in BENCHMARKS:
            raise ValueError(f"'+{variant}': space {space.name} has no squeeze-and-excitation")
        # A tenth of 8 channels, the fewest that a scaled space has, still rounds to 1.
        if se_ratio and not 0.1 <= se_ratio <= 1:
            raise ValueError(f"'+{variant}': the squeeze-and-excitation ratio must be 0 or lie between 0.1 and 1")
        return cls(space.name, tuple(known[name] for name in names), se_ratio, hard_swish=match[2] is not None)

    def with_se(self, se_ratio: float) -> Architecture:
        """The same choices with squeeze-and-excitation and Swish (0 for neither)."""
        return replace(self, se_ratio=se_ratio, hard_swish=self.hard_swish and se_ratio > 0)

    def with_hard_swish(self) -> Architecture:
        """The same network with hard-Swish instead of Swish.

        Raises:
            ValueError: it has no Swish.
        """
        return replace(self, hard_swish=True)


class Space(Protocol):
    """What sampling, scoring and ranking need to know of a space, be it mobile or a benchmark's."""

    @property
    def name(self) -> str: ...  # noqa: D102
    @property
    def description(self) -> str: ...  # noqa: D102
    @property
    def layers(self) -> Sequence[Any]: ...  # noqa: D102
    @property
    def choices(self) -> Sequence[Any]: ...  # noqa: D102
    @property
    def size(self) -> int: ...  # noqa: D102
    def scaled(self, width: float) -> Self: ...  # noqa: D102
    def architecture(self, choices: Sequence[int]) -> Architecture: ...  # noqa: D102
    def uniform(self, choice: int | str) -> Architecture: ...  # noqa: D102
    def sample(self, rng: np.random.Generator) -> Architecture: ...  # noqa: D102
    def cost(self, architecture: Architecture, resolution: int = ..., num_classes: int = ...) -> Cost: ...  # noqa: D102


# Spaces of benchmarks, by name: `benchmark_spaces.py` fills it in.
BENCHMARKS: dict[str, Space] = {}


def any_space(name: str) -> Space:
    """A mobile space or a benchmark's.

    Raises:
        ValueError: there is no space of that name.
    """
    if name in BENCHMARKS:
        return BENCHMARKS[name]
    if name not in list_spaces():
        raise ValueError(f"unknown search space '{name}': choose from {', '.join([*list_spaces(), *BENCHMARKS])}")
    return get_space(name)


def list_spaces() -> list[str]:
    """Names of the mobile spaces that come with the package."""
    return sorted(path.stem for path in SPACES_FOLDER.glob("*.yaml"))


@lru_cache
def get_space(name: str) -> SearchSpace:
    """A mobile space by name.

    Raises:
        ValueError: there is no such space, or its networks cannot be deployed.
    """
    if name in BENCHMARKS:
        raise ValueError(
            f"space '{name}' is a benchmark's, to train supernets of and to rank: to search and deploy, choose from "
            f"{', '.join(list_spaces())}"
        )
    path = SPACES_FOLDER / f"{name}.yaml"
    if name not in list_spaces():
        raise ValueError(f"unknown search space '{name}': choose from {', '.join(list_spaces())}")
    return _read_space(name, yaml.safe_load(path.read_text()))


def _divisible(channels: float) -> int:
    """The nearest multiple of 8 that is not below 90%, as timm's `make_divisible`, which takes seconds to import."""
    nearest = max(8, int(channels + 4) // 8 * 8)
    return nearest + 8 if nearest < 0.9 * channels else nearest


def _read_space(name: str, data: dict[str, Any]) -> SearchSpace:
    layers: list[Layer] = []
    in_channels = data["separable_channels"]
    for group in data["layers"]:
        for repeat in range(group["repeat"]):
            stride = group["stride"] if repeat == 0 else 1
            layers.append(Layer(group["stage"], in_channels, group["channels"], stride))
            in_channels = group["channels"]
    return SearchSpace(
        name=name,
        description=data["description"],
        stem_channels=data["stem_channels"],
        separable_channels=data["separable_channels"],
        layers=tuple(layers),
        head_channels=data["head_channels"],
        choices=tuple(Choice.parse(text) for text in data["choices"]),
    )
