"""Spaces of benchmarks, whose networks were all trained by others: NAS-Bench-Macro and NAS-Bench-201.

They show how well a supernet ranks, against known accuracies. Their networks are too small to deploy, so they have a
cost but no blocks to time.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import ClassVar, Self

import numpy as np

from .blocks import Block, Cost
from .search_space import BENCHMARKS, Architecture


class BenchmarkSpace(ABC):
    """`len(choices)` candidates in each of `len(layers)` places.

    Args:
        channels: width of the network, in its narrowest stage (NAS-Bench-201) or its stem (NAS-Bench-Macro).
        width: multiplier of every channel count that `channels` already holds.
    """

    name: str
    description: str
    layers: tuple[str, ...]
    choices: tuple[str, ...]

    def __init__(self, channels: int, width: float = 1.0) -> None:
        self.channels, self.width = channels, width

    @property
    def size(self) -> int:
        """Number of architectures."""
        return len(self.choices) ** len(self.layers)

    def scaled(self, width: float) -> Self:
        """The same space with every channel count multiplied by `width`."""
        return type(self)(max(1, round(self.channels * width / self.width)), width)

    def architecture(self, choices: Sequence[int]) -> Architecture:
        """The architecture that takes `choices[l]` in place l."""
        return Architecture(self.name, tuple(int(c) for c in choices))

    def uniform(self, choice: int | str) -> Architecture:
        """The architecture that takes the same choice (an index or a name) in every place."""
        index = self.choices.index(choice) if isinstance(choice, str) else choice
        return self.architecture([index] * len(self.layers))

    def sample(self, rng: np.random.Generator) -> Architecture:
        """One architecture, uniformly at random."""
        return self.architecture(rng.integers(len(self.choices), size=len(self.layers)).tolist())

    def from_digits(self, digits: str) -> Architecture:
        """The architecture that a benchmark's file calls by one digit per place.

        Raises:
            ValueError: not as many digits as places, or a digit that is no choice.
        """
        if len(digits) != len(self.layers) or not digits.isdecimal() or max(map(int, digits)) >= len(self.choices):
            raise ValueError(
                f"'{digits}' is not an architecture of {self.name}: expected {len(self.layers)} digits from 0 to "
                f"{len(self.choices) - 1}"
            )
        return self.architecture([int(digit) for digit in digits])

    @abstractmethod
    def cost(self, architecture: Architecture, resolution: int = 32, num_classes: int = 10) -> Cost:
        """Exact parameters and multiply-adds of a network, by arithmetic alone."""


class MacroSpace(BenchmarkSpace):
    """NAS-Bench-Macro (Su et al. 2021, arXiv 2103.11922): eight inverted residuals, each may be left out.

    The 3x3 stem has stride 1. Every stage doubles the channels and halves the resolution in its first layer, where the
    identity is a 1x1 convolution with batch norm.
    """

    name = "macro"
    description = "NAS-Bench-Macro: 8 layers of MobileNetV2 blocks on CIFAR-10, 3^8 architectures"
    layers = ("1.1", "1.2", "2.1", "2.2", "2.3", "3.1", "3.2", "3.3")
    choices = ("I", "E3K3", "E6K5")
    HEAD_CHANNELS = 1280

    def place(self, layer: int) -> tuple[int, int, int]:
        """Input channels, output channels and stride of a layer."""
        stage, position = (int(part) for part in self.layers[layer].split("."))
        out_channels = self.channels * 2**stage
        return (out_channels // 2, out_channels, 2) if position == 1 else (out_channels, out_channels, 1)

    @property
    def head_channels(self) -> int:
        """Output channels of the 1x1 convolution before pooling."""
        return round(self.HEAD_CHANNELS * self.width)

    def block(self, layer: int, choice: int, resolution: int) -> Block | None:
        """What one choice computes, at an input of `resolution` pixels to that layer; None for a true identity."""
        in_channels, out_channels, stride = self.place(layer)
        if self.choices[choice] == "I":
            if (in_channels, stride) == (out_channels, 1):
                return None
            return Block("conv", in_channels, out_channels, resolution, stride, activation="none")
        expansion, kernel = (int(digit) for digit in self.choices[choice][1::2])
        return Block("mbconv", in_channels, out_channels, resolution, stride, kernel, expansion, activation="relu")

    def cost(self, architecture: Architecture, resolution: int = 32, num_classes: int = 10) -> Cost:
        """Exact parameters and multiply-adds of a network, by arithmetic alone."""
        total = Block("conv", 3, self.channels, resolution, 1, 3, activation="relu").cost
        for layer, choice in enumerate(architecture.choices):
            block = self.block(layer, choice, resolution)
            total += block.cost if block else Cost()
            resolution = -(-resolution // self.place(layer)[2])
        last_channels = self.place(len(self.layers) - 1)[1]
        total += Block("conv", last_channels, self.head_channels, resolution, activation="relu").cost
        return total + Block("classifier", self.head_channels, num_classes, resolution).cost


class NasBench201Space(BenchmarkSpace):
    """NAS-Bench-201 (Dong and Yang 2020, arXiv 2001.00326): one cell of four nodes and six edges, 15 times.

    Places are the edges in the order of the benchmark's strings: 0-1, 0-2, 1-2, 0-3, 1-3, 2-3.
    """

    name = "nasbench201"
    description = "NAS-Bench-201: cells of 6 edges with 5 operations, 5^6 architectures"
    layers = ("0-1", "0-2", "1-2", "0-3", "1-3", "2-3")
    choices = ("none", "skip_connect", "nor_conv_1x1", "nor_conv_3x3", "avg_pool_3x3")
    CELLS, STAGES = 5, 3  # cells per stage; between two stages stands a residual block with stride 2
    KERNELS: ClassVar = {"nor_conv_1x1": 1, "nor_conv_3x3": 3}

    def __init__(self, channels: int, width: float = 1.0, cells: int = CELLS) -> None:
        super().__init__(channels, width)
        self.cells = cells

    def scaled(self, width: float) -> NasBench201Space:
        """The same space with every channel count multiplied by `width`."""
        return NasBench201Space(super().scaled(width).channels, width, self.cells)

    def shortened(self, cells: int) -> NasBench201Space:
        """The same cells, fewer of them per stage: a supernet of such networks trains faster."""
        return NasBench201Space(self.channels, self.width, cells)

    def is_connected(self, architecture: Architecture) -> bool:
        """Whether anything of a cell's input reaches its output: 341 of the 15,625 bring nothing."""
        reached = {0}
        for edge, choice in zip(self.layers, architecture.choices, strict=True):
            start, end = (int(node) for node in edge.split("-"))
            if start in reached and self.choices[choice] != "none":
                reached.add(end)
        return 3 in reached

    def cost(self, architecture: Architecture, resolution: int = 32, num_classes: int = 10) -> Cost:
        """Exact parameters and multiply-adds of a network, by arithmetic alone."""
        total = _convolution(3, self.channels, 3, resolution)
        channels = self.channels
        kernels = [self.KERNELS.get(self.choices[choice]) for choice in architecture.choices]
        for stage in range(self.STAGES):
            if stage:
                channels, resolution = 2 * channels, -(-resolution // 2)
                total += _convolution(channels // 2, channels, 3, resolution)
                total += _convolution(channels, channels, 3, resolution)
                total += _convolution(channels // 2, channels, 1, resolution, batch_norm=False)
            for kernel in filter(None, kernels * self.cells):
                total += _convolution(channels, channels, kernel, resolution)
        return total + Cost(2 * channels + (channels + 1) * num_classes, channels * num_classes)


def _convolution(in_channels: int, out_channels: int, kernel: int, resolution: int, batch_norm: bool = True) -> Cost:
    weights = in_channels * out_channels * kernel**2
    return Cost(weights + 2 * out_channels * batch_norm, weights * resolution**2)


MACRO = MacroSpace(channels=32)
NASBENCH201 = NasBench201Space(channels=16)
BENCHMARKS.update({space.name: space for space in (MACRO, NASBENCH201)})
