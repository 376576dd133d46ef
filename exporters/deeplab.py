"""DeepLabv3+ as the FairNAS paper uses it (sec. 4.5), in plain PyTorch: output stride 16 and a small head.

The paper leaves out ASPP and says no more; a head of global pooling and one 1x1 branch, without a decoder, gives its
parameters to the last digit: 3.26M, 3.11M and 3.01M with FairNAS-A, B and C and 21 classes.
"""

from __future__ import annotations

from typing import cast

import torch
from timm.layers import ConvNormAct
from torch import Tensor, nn
from torch.nn import functional

from ..models import UserModel, build_any_network, parse_any_network
from .errors import ExportError

OUTPUT_STRIDE = 16
HEAD_CHANNELS = 256


class DeepLabHead(nn.Module):
    """Features `[B, in_channels, h, w]` to logits `[B, classes, h, w]`.

    Args:
        in_channels: of the backbone's last features.
        classes: how many are told apart.
        channels: of each branch, and between them and the classifier.
        dropout: before the classifier.
    """

    def __init__(self, in_channels: int, classes: int, channels: int = HEAD_CHANNELS, dropout: float = 0.1) -> None:
        super().__init__()
        self.pooled = ConvNormAct(in_channels, channels, 1)
        self.plain = ConvNormAct(in_channels, channels, 1)
        self.project = ConvNormAct(2 * channels, channels, 1)
        self.dropout = nn.Dropout(dropout)
        self.classifier = nn.Conv2d(channels, classes, 1)

    def forward(self, features: Tensor) -> Tensor:
        """Logits at the features' resolution."""
        return self.classifier(self.dropout(self.before_classifier(features)))

    def before_classifier(self, features: Tensor) -> Tensor:
        """Both branches, joined: `[B, channels, h, w]`."""
        plain = self.plain(features)
        # One value per image and channel: spreading it needs no interpolation.
        everywhere = self.pooled(functional.adaptive_avg_pool2d(features, 1)).expand_as(plain)
        return self.project(torch.cat([everywhere, plain], dim=1))


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
        network: a published name, an architecture's text, or a timm model that gives features.
        classes: how many are told apart.
        output_stride: by how much the last features are smaller than the images: strides beyond it become dilations,
            which changes no weight.
        width: multiplier of the backbone's channel counts; only our architectures have one.
        dropout: before the classifier.

    Raises:
        ExportError: there is no such network, or it gives no features of that stride.
    """
    try:
        source = parse_any_network(network)
        if isinstance(source, UserModel):
            raise ValueError("only our architectures and timm's models give features")
        backbone = build_any_network(source, width=width, features_only=True, output_stride=output_stride)
        information = cast(nn.Module, backbone.feature_info)
        stride, channels = cast(list[int], information.reduction())[-1], cast(list[int], information.channels())[-1]
        if stride != output_stride:
            raise ValueError(f"its last features have stride {stride}, not {output_stride}")
    # timm answers with all of these when a model has no features, or no output stride.
    except (ValueError, RuntimeError, TypeError, AttributeError, NotImplementedError) as error:
        raise ExportError(f"{network} cannot be a backbone: {' '.join(str(error).split())}") from error
    return Segmenter(backbone, DeepLabHead(channels, classes, dropout=dropout))
