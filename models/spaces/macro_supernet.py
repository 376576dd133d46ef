"""The supernet of NAS-Bench-Macro, built as the benchmark's own networks are."""

from __future__ import annotations

from typing import TYPE_CHECKING

from torch import Tensor, nn

from ..supernet import LayeredSupernet
from .benchmark_layers import conv_bn

if TYPE_CHECKING:
    from .macro import MacroSpace


class MacroSupernet(LayeredSupernet):
    """NAS-Bench-Macro: inverted residuals with ReLU; a candidate may be the identity."""

    def __init__(self, space: MacroSpace, num_classes: int) -> None:
        last_channels = space.place(len(space.layers) - 1)[1]
        super().__init__(
            space,
            num_classes,
            conv_bn(3, space.channels, 3, nn.ReLU()),
            [[_macro_block(space, layer, choice) for choice in space.choices] for layer in range(len(space.layers))],
            nn.Sequential(
                conv_bn(last_channels, space.head_channels, 1, nn.ReLU()),
                nn.AdaptiveAvgPool2d(1),
                nn.Flatten(),
                nn.Linear(space.head_channels, num_classes),
            ),
        )


def _macro_block(space: MacroSpace, layer: int, choice: str) -> nn.Module:
    in_channels, out_channels, stride = space.place(layer)
    if choice == "I":
        same = (in_channels, stride) == (out_channels, 1)
        return nn.Identity() if same else conv_bn(in_channels, out_channels, 1, stride=stride)
    expansion, kernel = (int(digit) for digit in choice[1::2])
    return _InvertedResidual(in_channels, out_channels, stride, expansion, kernel)


class _InvertedResidual(nn.Module):
    def __init__(self, in_channels: int, out_channels: int, stride: int, expansion: int, kernel: int) -> None:
        super().__init__()
        hidden = in_channels * expansion
        self.has_skip = stride == 1 and in_channels == out_channels
        self.body = nn.Sequential(
            conv_bn(in_channels, hidden, 1, nn.ReLU()),
            conv_bn(hidden, hidden, kernel, nn.ReLU(), stride=stride, groups=hidden),
            conv_bn(hidden, out_channels, 1),
        )

    def forward(self, features: Tensor) -> Tensor:
        return features + self.body(features) if self.has_skip else self.body(features)
