"""Backbones: which feature maps a network gives, and what lies before and behind them.

Two places of a network are worth tapping, both at the end of each stride (timm's `features_only`, `feature_location`):
block outputs ("bottleneck"), and what the last block has inside, between its depthwise convolution, batch norm,
activation and gate and its projection ("expansion"). The paper's RetinaNet takes the latter (sec. 4.4: "last depthwise
layers of stage 2-5"), in FairNAS-A, B and C those of layers 2, 6, 14 and 19.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import cast

from timm.models import EfficientNetFeatures
from torch import nn

from .foreign import build_any_network
from .network_names import UserModel, parse_any_network

LOCATIONS = ("bottleneck", "expansion")
PAPER_OUT_INDICES = (1, 2, 3, 4)
"""Strides 4, 8, 16 and 32."""


def build_features(
    network: str,
    *,
    out_indices: Sequence[int] = PAPER_OUT_INDICES,
    feature_location: str = "",
    width: float = 1.0,
    output_stride: int = 32,
    in_chans: int = 3,
    drop_path_rate: float = 0.0,
) -> EfficientNetFeatures:
    """A network that maps images `[B, in_chans, H, W]` to a list of features, `[B, C, H/s, W/s]` at each stride s.

    What no feature needs (after the last tap) keeps its weights, so that a classifier's fit, but asks for no gradients:
    distributed training would wait for them.

    Args:
        network: a published name (`fairnas_c_se`), an architecture's text (`b:E3K7-...`), or one of timm's networks of
            the same make (`mobilenetv2_100`, EfficientNet ...).
        out_indices: which features: 0 to 4 for strides 2 to 32.
        feature_location: "bottleneck" (or nothing): block outputs; "expansion": see above.
        width: multiplier of every channel count; only our architectures have one.
        output_stride: strides beyond it become dilations: 32, 16 or 8.
        in_chans: channels of the images.
        drop_path_rate: probability of dropping the last residual block; earlier ones are dropped less.

    Raises:
        ValueError: there is no such network or feature.
    """
    location = feature_location or LOCATIONS[0]
    if location not in LOCATIONS:
        raise ValueError(f"unknown feature_location '{feature_location}': choose from {', '.join(LOCATIONS)}")
    indices = tuple(out_indices)
    known = all(type(index) is int and index in range(5) for index in indices)
    if not indices or not known or list(indices) != sorted(set(indices)):
        raise ValueError(f"out_indices {list(indices)}: name some of 0 to 4 (strides 2 to 32), in order")
    if not width > 0:
        raise ValueError(f"width {width}: it must be positive")
    if output_stride not in (8, 16, 32):
        raise ValueError(f"output_stride {output_stride}: choose from 8, 16, 32")
    source = parse_any_network(network)
    if isinstance(source, UserModel):
        raise ValueError(f"{network} cannot be a backbone: only our architectures and timm's models give features")
    arguments = {"feature_location": location, "output_stride": output_stride, "in_chans": in_chans}
    try:
        features = build_any_network(
            source, width=width, features_only=True, out_indices=indices, drop_path_rate=drop_path_rate, **arguments
        )
    except (ValueError, RuntimeError) as error:  # a model of timm's that takes other arguments
        raise ValueError(f"{network} cannot be a backbone: {' '.join(str(error).split())}") from error
    if not isinstance(features, EfficientNetFeatures):
        raise ValueError(f"{network} cannot be a backbone: it is not built of the same blocks as ours")
    for module in _behind(features):
        module.requires_grad_(False)
    return features


def channels(features: EfficientNetFeatures) -> list[int]:
    """Of each feature map."""
    return cast(list[int], features.feature_info.channels())


def reductions(features: EfficientNetFeatures) -> list[int]:
    """Stride of each feature map."""
    return cast(list[int], features.feature_info.reduction())


def modules_until(features: EfficientNetFeatures, stage: int) -> list[nn.Module]:
    """What computes the features of a stage, the paper's count: 0 is the stem, 1 ends at stride 2, 5 at stride 32.

    Raises:
        ValueError: there is no such stage.
    """
    if stage not in range(6):
        raise ValueError(f"there is no stage {stage}: 0 is the stem, and 1 to 5 end at strides 2 to 32")
    stem = [features.conv_stem, features.bn1]
    return stem if stage == 0 else [*stem, *features.blocks[: _ends(features)[stage - 1]]]


def _ends(features: EfficientNetFeatures) -> list[int]:
    """How many of timm's stages there are up to the end of each stride; timm's split ours where channels change."""
    return [int(information["stage"]) for information in features.feature_info.info]


def _behind(features: EfficientNetFeatures) -> list[nn.Module]:
    """What comes after the last feature map."""
    stage = cast(list[int], features.feature_info.get("stage"))[-1]
    path = cast(list[str], features.feature_info.module_name())[-1].split(".")
    behind: list[nn.Module] = list(features.blocks[stage:])
    if len(path) == 4:  # blocks.STAGE.BLOCK.conv_pwl: the tap is this layer's input
        inside = dict(features.get_submodule(".".join(path[:3])).named_children())
        names = list(inside)
        behind += [inside[name] for name in names[names.index(path[3]) :]]
    return behind
