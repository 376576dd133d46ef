"""The supernet of NAS-Bench-201, built as the benchmark's own networks are."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, cast

import torch
from torch import Tensor, nn

from ..supernet import AnySupernet, Path, mean_of, outputs_of
from .benchmark_layers import conv_bn

if TYPE_CHECKING:
    from .nasbench201 import NasBench201Space


class NasBench201Supernet(AnySupernet):
    """NAS-Bench-201: a path is one operation per edge, shared by all cells; every cell has its own weights.

    Batch norms are affine, as in the benchmark's stand-alone networks. The network ends with batch norm and ReLU before
    pooling, as the benchmark's does.
    """

    def __init__(self, space: NasBench201Space, num_classes: int) -> None:
        super().__init__(space, num_classes)
        channels = space.channels
        self.stem = conv_bn(3, channels, 3)
        stages: list[nn.Module] = []
        for stage in range(space.STAGES):
            if stage:
                stages.append(_Reduction(channels))
                channels *= 2
            stages += [_Cell(space, channels) for _ in range(space.cells)]
        self.cells = nn.ModuleList(stages)
        self.head = nn.Sequential(
            nn.BatchNorm2d(channels),
            nn.ReLU(),
            nn.AdaptiveAvgPool2d(1),
            nn.Flatten(),
            nn.Linear(channels, num_classes),
        )

    def forward(self, images: Tensor, path: Path) -> Tensor:
        """Logits `[B, num_classes]` of one path for images `[B, 3, H, W]`."""
        features = self.stem(images)
        for cell in self.cells:
            features = cell(features, path) if isinstance(cell, _Cell) else cell(features)
        return self.head(features)

    def shared_parameters(self) -> Iterator[nn.Parameter]:
        """Parameters that every path uses: those of the stem, the reductions and the head."""
        yield from self.stem.parameters()
        for cell in self.cells:
            if not isinstance(cell, _Cell):
                yield from cell.parameters()
        yield from self.head.parameters()

    def candidates(self, images: Tensor, path: Sequence[int]) -> Iterator[Tensor]:
        """What the candidates on each edge of the first cell make of the same input, `[m, B, C, H, W]`."""
        cell = self.cells[0]
        assert isinstance(cell, _Cell)
        nodes = {0: self.stem(images)}
        for (start, end), candidates, choice in zip(cell.ends, cell.edges, path, strict=True):
            outputs = outputs_of(cast(nn.ModuleList, candidates), nodes[start])
            yield outputs
            nodes[end] = nodes[end] + outputs[choice] if end in nodes else outputs[choice]

    @property
    def places(self) -> tuple[str, list[str]]:
        """Edges, by their ends."""
        return "edge of the first cell", [str(edge) for edge in self.space.layers]


class _Cell(nn.Module):
    """Four nodes; a node is the sum of what its edges bring from earlier ones."""

    def __init__(self, space: NasBench201Space, channels: int) -> None:
        super().__init__()
        self.ends = [tuple(int(node) for node in edge.split("-")) for edge in space.layers]
        self.edges = nn.ModuleList(
            nn.ModuleList(_operation(space, choice, channels) for choice in space.choices) for _ in space.layers
        )

    def forward(self, features: Tensor, path: Path) -> Tensor:
        nodes: dict[int, Tensor] = {0: features}
        for (start, end), candidates, choice in zip(self.ends, self.edges, path, strict=True):
            brought = mean_of(cast(nn.ModuleList, candidates), choice, nodes[start])
            nodes[end] = nodes[end] + brought if end in nodes else brought
        return nodes[3]


class _Zero(nn.Module):
    def forward(self, features: Tensor) -> Tensor:
        return torch.zeros_like(features)


class _Reduction(nn.Module):
    """A residual block of stride 2 that doubles the channels; its shortcut is average pooling and a 1x1 convolution."""

    def __init__(self, in_channels: int) -> None:
        super().__init__()
        out_channels = 2 * in_channels
        self.body = nn.Sequential(
            _relu_conv_bn(in_channels, out_channels, 3, stride=2), _relu_conv_bn(out_channels, out_channels, 3)
        )
        self.shortcut = nn.Sequential(nn.AvgPool2d(2), nn.Conv2d(in_channels, out_channels, 1, bias=False))

    def forward(self, features: Tensor) -> Tensor:
        return self.body(features) + self.shortcut(features)


def _operation(space: NasBench201Space, choice: str, channels: int) -> nn.Module:
    kernel = space.KERNELS.get(choice)
    if kernel:
        return _relu_conv_bn(channels, channels, kernel)
    if choice == "avg_pool_3x3":
        return nn.AvgPool2d(3, stride=1, padding=1, count_include_pad=False)
    return nn.Identity() if choice == "skip_connect" else _Zero()


def _relu_conv_bn(in_channels: int, out_channels: int, kernel: int, stride: int = 1) -> nn.Sequential:
    # Not in place: other edges read the same input.
    return nn.Sequential(nn.ReLU(), *conv_bn(in_channels, out_channels, kernel, stride=stride))
