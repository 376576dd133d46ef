"""Mobile search spaces as data."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from math import prod
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar, NoReturn

import numpy as np
import yaml

from ...architecture import Architecture
from ...blocks import Activation, Block, Cost
from ...genes import draw_values

if TYPE_CHECKING:
    from .supernet import Supernet


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

    is_deployable: ClassVar[bool] = True
    has_aligned_init: ClassVar[bool] = True
    can_be_shortened: ClassVar[bool] = False

    @property
    def genes(self) -> tuple[int, ...]:
        """Number of choices of each layer."""
        return (len(self.choices),) * len(self.layers)

    @property
    def size(self) -> int:
        """Number of architectures."""
        return prod(self.genes)

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
        return self.architecture(draw_values(self.genes, rng).tolist())

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

    def check_resolution(self, resolution: int) -> None:
        """Refuse images that its networks cannot take.

        Raises:
            ValueError: they have less than 32 pixels a side.
        """
        if resolution < 32:
            raise ValueError(f"space {self.name} halves its input five times: resolutions must be at least 32")

    def shortened(self, cells: int) -> NoReturn:
        """There are no cells to leave out.

        Raises:
            ValueError: always.
        """
        raise ValueError(f"space {self.name} has no cells")

    def is_connected(self, architecture: Architecture) -> bool:
        """Whether anything of a network's input reaches its output: always."""
        return True

    def from_table(self, text: str) -> Architecture:
        """The architecture of a text.

        Raises:
            ValueError: as `Architecture.parse`.
        """
        return Architecture.parse(text)

    def supernet(self, num_classes: int) -> Supernet:
        """An untrained supernet, for images of three channels."""
        from .supernet import Supernet

        return Supernet(self, num_classes)


def _divisible(channels: float) -> int:
    """The nearest multiple of 8 that is not below 90%, as timm's `make_divisible`, which takes seconds to import."""
    nearest = max(8, int(channels + 4) // 8 * 8)
    return nearest + 8 if nearest < 0.9 * channels else nearest


def read_space(name: str, path: Path) -> SearchSpace:
    """The space that a YAML file describes."""
    data = yaml.safe_load(path.read_text())
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
