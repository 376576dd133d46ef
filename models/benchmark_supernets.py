"""Supernets of the benchmarks' spaces, built as the benchmarks' own networks are."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import cast

import torch
from torch import Tensor, nn
from torch.nn import functional

from .benchmark_spaces import MacroSpace, NasBench201Space
from .supernet import LayeredSupernet, Path, mean_of


class MacroSupernet(LayeredSupernet):
    """NAS-Bench-Macro: inverted residuals with ReLU; a candidate may be the identity."""

    def __init__(self, space: MacroSpace, num_classes: int) -> None:
        last_channels = space.place(len(space.layers) - 1)[1]
        super().__init__(
            _conv_bn(3, space.channels, 3, nn.ReLU()),
            [[_macro_block(space, layer, choice) for choice in space.choices] for layer in range(len(space.layers))],
            nn.Sequential(
                _conv_bn(last_channels, space.head_channels, 1, nn.ReLU()),
                nn.AdaptiveAvgPool2d(1),
                nn.Flatten(),
                nn.Linear(space.head_channels, num_classes),
            ),
        )
        self.space, self.num_classes = space, num_classes


class NasBench201Supernet(nn.Module):
    """NAS-Bench-201: a path is one operation per edge, shared by all cells; every cell has its own weights.

    Batch norms are affine, as in the benchmark's stand-alone networks. The network ends with batch norm and ReLU before
    pooling, as the benchmark's does.
    """

    def __init__(self, space: NasBench201Space, num_classes: int) -> None:
        super().__init__()
        self.space, self.num_classes = space, num_classes
        channels = space.channels
        self.stem = _conv_bn(3, channels, 3)
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


class _Cell(nn.Module):
    """Four nodes; a node is the sum of what its edges bring from earlier ones."""

    def __init__(self, space: NasBench201Space, channels: int) -> None:
        super().__init__()
        self.ends = [tuple(int(node) for node in edge.split("-")) for edge in space.layers]
        self.edges = nn.ModuleList(
            nn.ModuleList(_operation(choice, channels) for choice in space.choices) for _ in space.layers
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


def _operation(choice: str, channels: int) -> nn.Module:
    kernel = NasBench201Space.KERNELS.get(choice)
    if kernel:
        return _relu_conv_bn(channels, channels, kernel)
    if choice == "avg_pool_3x3":
        return nn.AvgPool2d(3, stride=1, padding=1, count_include_pad=False)
    return nn.Identity() if choice == "skip_connect" else _Zero()


def _relu_conv_bn(in_channels: int, out_channels: int, kernel: int, stride: int = 1) -> nn.Sequential:
    # Not in place: other edges read the same input.
    return nn.Sequential(nn.ReLU(), *_conv_bn(in_channels, out_channels, kernel, stride=stride))


def _macro_block(space: MacroSpace, layer: int, choice: str) -> nn.Module:
    in_channels, out_channels, stride = space.place(layer)
    if choice == "I":
        same = (in_channels, stride) == (out_channels, 1)
        return nn.Identity() if same else _conv_bn(in_channels, out_channels, 1, stride=stride)
    expansion, kernel = (int(digit) for digit in choice[1::2])
    return _InvertedResidual(in_channels, out_channels, stride, expansion, kernel)


class _InvertedResidual(nn.Module):
    def __init__(self, in_channels: int, out_channels: int, stride: int, expansion: int, kernel: int) -> None:
        super().__init__()
        hidden = in_channels * expansion
        self.has_skip = stride == 1 and in_channels == out_channels
        self.body = nn.Sequential(
            _conv_bn(in_channels, hidden, 1, nn.ReLU()),
            _conv_bn(hidden, hidden, kernel, nn.ReLU(), stride=stride, groups=hidden),
            _conv_bn(hidden, out_channels, 1),
        )

    def forward(self, features: Tensor) -> Tensor:
        return features + self.body(features) if self.has_skip else self.body(features)


_SIMD_CHANNELS = 8  # of float32 in a register of AVX2


def _conv_bn(
    in_channels: int,
    out_channels: int,
    kernel: int,
    activation: nn.Module | None = None,
    *,
    stride: int = 1,
    groups: int = 1,
) -> nn.Sequential:
    kind = _NarrowStrided if kernel == 1 and stride > 1 and in_channels < _SIMD_CHANNELS else nn.Conv2d
    convolution = kind(in_channels, out_channels, kernel, stride, kernel // 2, groups=groups, bias=False)
    modules: Sequence[nn.Module] = [convolution, nn.BatchNorm2d(out_channels)]
    return nn.Sequential(*modules, *([activation] if activation else []))


class _NarrowStrided(nn.Conv2d):
    """A strided 1x1 convolution that first drops the pixels which it does not look at.

    oneDNN's own way for few channels writes beyond its buffers on CPUs that have AVX2 and no AVX-512: gradients of
    weights end in a crash, or never (torch 2.14 and 2.15). The result is the same.
    """

    def forward(self, input: Tensor) -> Tensor:
        """`[B, in, H, W]` to `[B, out, H / stride, W / stride]`."""
        rows, columns = self.stride
        return functional.conv2d(input[..., ::rows, ::columns].contiguous(), self.weight, self.bias)
