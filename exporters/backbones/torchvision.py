"""Detectors of torchvision with our backbones: RetinaNet here, any other of theirs from `FeaturePyramid`."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from torch import Tensor, nn
from torchvision.models.detection import RetinaNet
from torchvision.ops.feature_pyramid_network import FeaturePyramidNetwork, LastLevelP6P7

from ...models.backbone_features import build_features, channels
from ..errors import ExportError
from .weights import load_backbone_weights


class FeaturePyramid(nn.Module):
    """Images `[B, 3, H, W]` to features `[B, out_channels, H/s, W/s]`, and at the last two levels of half their size.

    Args:
        network: as `build_features` takes it.
        weights: a classifier's `.safetensors`; None for random weights.
        out_channels: of every level.
        out_indices: 0 to 4 for strides 2 to 32.
        **features: what else `build_features` takes (`feature_location="expansion"`, ...).

    Raises:
        ExportError: there is no such network, or the weights are another's.
    """

    def __init__(
        self,
        network: str,
        weights: str | Path | None = None,
        *,
        out_channels: int = 256,
        out_indices: Sequence[int] = (2, 3, 4),
        **features: Any,
    ) -> None:
        super().__init__()
        try:
            self.body = build_features(network, out_indices=out_indices, **features)
        except ValueError as error:
            raise ExportError(str(error)) from error
        if weights is not None:
            load_backbone_weights(self.body, weights)
        self.fpn = FeaturePyramidNetwork(channels(self.body), out_channels, LastLevelP6P7(out_channels, out_channels))
        self.out_channels = out_channels

    def forward(self, images: Tensor) -> dict[str, Tensor]:
        """The levels, finest first."""
        return self.fpn(OrderedDict((str(level), features) for level, features in enumerate(self.body(images))))


def retinanet(
    network: str,
    num_classes: int,
    *,
    weights: str | Path | None = None,
    width: int = 256,
    location: str = "",
    **kwargs: Any,
) -> RetinaNet:
    """Torchvision's RetinaNet on features of strides 8 to 128.

    Args:
        network: as `build_features` takes it: a published name, an architecture's text or `mobilenetv2_100`.
        num_classes: with the background, as torchvision counts.
        weights: a classifier's `.safetensors`; None for random weights.
        width: channels of the feature pyramid.
        location: nothing for block outputs; "expansion" for the depthwise outputs that the paper takes.
        **kwargs: what torchvision's `RetinaNet` takes (`min_size`, `max_size`, `score_thresh`, ...).

    Raises:
        ExportError: there is no such network, or the weights are another's.
    """
    pyramid = FeaturePyramid(network, weights, out_channels=width, feature_location=location)
    return RetinaNet(pyramid, num_classes, **kwargs)
