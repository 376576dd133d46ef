"""NAS-Bench-Macro."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ..architecture import Architecture
from ..blocks import Block, Cost
from .benchmark import BenchmarkSpace

if TYPE_CHECKING:
    from .macro_supernet import MacroSupernet


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

    def supernet(self, num_classes: int) -> MacroSupernet:
        """An untrained supernet, built as the benchmark's own networks are."""
        from .macro_supernet import MacroSupernet

        return MacroSupernet(self, num_classes)


MACRO = MacroSpace(channels=32)
