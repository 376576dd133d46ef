"""NAS-Bench-201."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from ..architecture import Architecture
from ..blocks import Cost
from .benchmark import BenchmarkSpace

if TYPE_CHECKING:
    from .nasbench201_supernet import NasBench201Supernet


class NasBench201Space(BenchmarkSpace):
    """NAS-Bench-201 (Dong and Yang 2020, arXiv 2001.00326): one cell of four nodes and six edges, 15 times.

    Places are the edges in the order of the benchmark's strings: 0-1, 0-2, 1-2, 0-3, 1-3, 2-3.
    """

    name = "nasbench201"
    description = "NAS-Bench-201: cells of 6 edges with 5 operations, 5^6 architectures"
    layers = ("0-1", "0-2", "1-2", "0-3", "1-3", "2-3")
    choices = ("none", "skip_connect", "nor_conv_1x1", "nor_conv_3x3", "avg_pool_3x3")
    CELLS, STAGES = 5, 3  # cells per stage; between two stages stands a residual block with stride 2
    can_be_shortened: ClassVar[bool] = True
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

    def supernet(self, num_classes: int) -> NasBench201Supernet:
        """An untrained supernet, built as the benchmark's own networks are."""
        from .nasbench201_supernet import NasBench201Supernet

        return NasBench201Supernet(self, num_classes)


def _convolution(in_channels: int, out_channels: int, kernel: int, resolution: int, batch_norm: bool = True) -> Cost:
    weights = in_channels * out_channels * kernel**2
    return Cost(weights + 2 * out_channels * batch_norm, weights * resolution**2)


NASBENCH201 = NasBench201Space(channels=16)
