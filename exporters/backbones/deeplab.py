"""DeepLabv3+ as the FairNAS paper uses it (sec. 4.5), in plain PyTorch: output stride 16 and a small head.

The paper leaves out ASPP and says no more; a head of global pooling and one 1x1 branch, without a decoder, gives its
parameters to the last digit: 3.26M, 3.11M and 3.01M with FairNAS-A, B and C and 21 classes.
"""

from __future__ import annotations

import torch
from timm.layers import ConvNormAct
from torch import Tensor, nn
from torch.nn import functional

from ...models.backbone_features import build_features, channels
from ..errors import ExportError

OUTPUT_STRIDE = 16
HEAD_CHANNELS = 256


class DeepLabBranches(nn.Module):
    """Features `[B, in_channels, h, w]` to what a 1x1 convolution can tell classes by, `[B, channels, h, w]`.

    Args:
        in_channels: of the backbone's last features.
        channels: of each branch and of the result.
    """

    def __init__(self, in_channels: int, channels: int = HEAD_CHANNELS) -> None:
        super().__init__()
        self.pooled = ConvNormAct(in_channels, channels, 1)
        self.plain = ConvNormAct(in_channels, channels, 1)
        self.project = ConvNormAct(2 * channels, channels, 1)

    def forward(self, features: Tensor) -> Tensor:
        """What is at each place, and what is in the whole image, joined."""
        plain = self.plain(features)
        # One value per image and channel: spreading it needs no interpolation.
        everywhere = self.pooled(functional.adaptive_avg_pool2d(features, 1)).expand_as(plain)
        return self.project(torch.cat([everywhere, plain], dim=1))


class DeepLabHead(nn.Sequential):
    """Features `[B, in_channels, h, w]` to logits `[B, classes, h, w]`.

    Args:
        in_channels: of the backbone's last features.
        classes: how many are told apart.
        dropout: before the classifier.
    """

    def __init__(self, in_channels: int, classes: int, dropout: float = 0.1) -> None:
        super().__init__(
            DeepLabBranches(in_channels), nn.Dropout(dropout), nn.Conv2d(HEAD_CHANNELS, classes, kernel_size=1)
        )


class Segmenter(nn.Module):
    """Images `[B, C, H, W]` to logits `[B, classes, H, W]`.

    Args:
        backbone: gives a list of features, of which the last are used.
        head: maps these to logits at their resolution, which are then enlarged (bilinear).
    """

    def __init__(self, backbone: nn.Module, head: nn.Module) -> None:
        super().__init__()
        self.backbone = backbone
        self.head = head

    def forward(self, images: Tensor) -> Tensor:
        """Logits of every pixel."""
        logits = self.head(self.backbone(images)[-1])
        return functional.interpolate(logits, size=images.shape[2:], mode="bilinear", align_corners=False)


def build_deeplab(
    network: str, classes: int, *, output_stride: int = OUTPUT_STRIDE, width: float = 1.0, dropout: float = 0.1
) -> Segmenter:
    """A segmenter with random weights; those of a trained classifier go into its `backbone` (`load_backbone_weights`).

    Args:
        network: as `build_features` takes it: a published name, an architecture's text, or a network of timm's.
        classes: how many are told apart.
        output_stride: by how much the last features are smaller than the images: strides beyond it become dilations,
            which changes no weight.
        width: multiplier of the backbone's channel counts; only our architectures have one.
        dropout: before the classifier.

    Raises:
        ExportError: there is no such network, or no such stride.
    """
    try:
        backbone = build_features(network, out_indices=(4,), width=width, output_stride=output_stride)
    except ValueError as error:
        raise ExportError(str(error)) from error
    return Segmenter(backbone, DeepLabHead(channels(backbone)[0], classes, dropout=dropout))
