"""What a network is made of: one `Block` says everything that changes what a piece of it costs."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Kind = Literal["conv", "sepconv", "mbconv", "classifier"]
Activation = Literal["none", "relu", "relu6", "swish", "hswish"]  # hswish: with a hard sigmoid as the gate


@dataclass(frozen=True, slots=True)
class Cost:
    """Exact parameters (batch-norm affine included) and multiply-adds (convolutions and linear layers, batch 1)."""

    params: int = 0
    madds: int = 0

    def __add__(self, other: Cost) -> Cost:
        return Cost(self.params + other.params, self.madds + other.madds)


@dataclass(frozen=True, slots=True)
class Block:
    """A piece of a network at a known size: the unit that is counted, priced and measured.

    Kinds:
        conv: convolution, batch norm, activation (the stem and the 1x1 head).
        sepconv: depthwise convolution, batch norm, activation, then a linear 1x1 projection.
        mbconv: inverted residual; 1x1 expansion, depthwise, optional squeeze-and-excitation, linear 1x1 projection.
        classifier: global average pooling and a fully connected layer.

    Attributes:
        resolution: height and width of the input, in pixels.
        se_ratio: squeeze channels / *input* channels; 0 means no squeeze-and-excitation.
    """

    kind: Kind
    in_channels: int
    out_channels: int
    resolution: int
    stride: int = 1
    kernel: int = 1
    expansion: int = 1
    se_ratio: float = 0.0
    activation: Activation = "relu6"

    @property
    def signature(self) -> str:
        """A readable key, for example `mbconv-32x56-32-s1-k3-e3-relu6`; equal keys mean equal cost."""
        parts = [self.kind, f"{self.in_channels}x{self.resolution}", f"{self.out_channels}"]
        if self.kind != "classifier":
            parts += [f"s{self.stride}", f"k{self.kernel}"]
        if self.kind == "mbconv":
            parts.append(f"e{self.expansion}")
        if self.se_ratio:
            parts.append(f"se{self.se_ratio:g}")
        if self.activation != "none":
            parts.append(self.activation)
        return "-".join(parts)

    @property
    def out_resolution(self) -> int:
        """Height and width of the output, in pixels (padding is kernel // 2)."""
        return 1 if self.kind == "classifier" else -(-self.resolution // self.stride)

    @property
    def hidden_channels(self) -> int:
        """Channels of the depthwise convolution."""
        return self.in_channels * self.expansion

    @property
    def squeeze_channels(self) -> int:
        """Channels inside squeeze-and-excitation."""
        # In timm's order: `in_channels * se_ratio` rounds the other way for a few ratios.
        return round(self.hidden_channels * (self.se_ratio / self.expansion))

    @property
    def has_skip(self) -> bool:
        """Whether input and output are added."""
        return self.kind == "mbconv" and self.stride == 1 and self.in_channels == self.out_channels

    @property
    def cost(self) -> Cost:
        """Exact cost of this block."""
        if self.kind == "classifier":
            weights = self.in_channels * self.out_channels
            return Cost(weights + self.out_channels, weights)
        if self.kind == "conv":
            return _conv_bn(self.in_channels, self.out_channels, self.kernel, self.out_resolution)
        hidden, inner = self.hidden_channels, self.out_resolution
        depthwise = _conv_bn(1, hidden, self.kernel, inner)
        project = _conv_bn(hidden, self.out_channels, 1, inner)
        if self.kind == "sepconv":
            return depthwise + project
        expand = _conv_bn(self.in_channels, hidden, 1, self.resolution)
        return expand + depthwise + self._squeeze_cost() + project

    def _squeeze_cost(self) -> Cost:
        squeezed, hidden = self.squeeze_channels, self.hidden_channels
        if not squeezed:
            return Cost()
        weights = 2 * squeezed * hidden
        return Cost(weights + squeezed + hidden, weights)


def _conv_bn(in_channels_per_group: int, out_channels: int, kernel: int, out_resolution: int) -> Cost:
    weights = kernel * kernel * in_channels_per_group * out_channels
    return Cost(weights + 2 * out_channels, weights * out_resolution**2)
