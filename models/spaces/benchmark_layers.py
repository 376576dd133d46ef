"""What supernets of benchmarks are built of."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor, nn
from torch.nn import functional

_SIMD_CHANNELS = 8  # of float32 in a register of AVX2


def conv_bn(
    in_channels: int,
    out_channels: int,
    kernel: int,
    activation: nn.Module | None = None,
    *,
    stride: int = 1,
    groups: int = 1,
) -> nn.Sequential:
    """A convolution without bias, batch norm, and an activation if there is one."""
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
