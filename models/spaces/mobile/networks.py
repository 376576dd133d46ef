"""Stand-alone networks: an `Architecture` becomes a timm EfficientNet, and FairNAS-A/B/C are registered with timm."""

from __future__ import annotations

import math
from functools import partial
from typing import TYPE_CHECKING, Any

from timm.models import (
    EfficientNet,
    EfficientNetFeatures,
    build_model_with_cfg,
    generate_default_cfgs,
    register_model,
)
from timm.models._efficientnet_blocks import SqueezeExcite
from timm.models._efficientnet_builder import decode_arch_def
from torch import nn

from ...architecture import Architecture
from ...network_names import parse_network
from ..registry import get_space
from .published import PUBLISHED

if TYPE_CHECKING:
    from .space import SearchSpace

Network = EfficientNet | EfficientNetFeatures

_DEFAULT_CFG = {
    "url": "",
    "num_classes": 1000,
    "input_size": (3, 224, 224),
    "pool_size": (7, 7),
    "crop_pct": 0.875,
    "interpolation": "bilinear",
    "mean": (0.485, 0.456, 0.406),
    "std": (0.229, 0.224, 0.225),
    "first_conv": "conv_stem",
    "classifier": "classifier",
    "license": "apache-2.0",
}
default_cfgs = generate_default_cfgs({f"{name}.untrained": _DEFAULT_CFG for name in ["fairnas", *PUBLISHED]})


def block_strings(space: SearchSpace, architecture: Architecture) -> list[list[str]]:
    """The network in timm's notation: one list of block strings per stage, stage 0 being the separable block."""
    stages = [[f"ds_r1_k3_s1_e1_c{space.separable_channels}_noskip"]]
    swish = "hs" if architecture.hard_swish else "sw"
    variant = f"_se{architecture.se_ratio}_n{swish}" if architecture.se_ratio else ""
    for layer, index in zip(space.layers, architecture.choices, strict=True):
        if layer.stage == len(stages):
            stages.append([])
        choice = space.choices[index]
        stages[-1].append(f"ir_r1_k{choice.kernel}_s{layer.stride}_e{choice.expansion}_c{layer.out_channels}{variant}")
    return stages


def build_network(
    architecture: Architecture,
    *,
    width: float = 1.0,
    features_only: bool = False,
    pretrained: bool = False,
    variant: str = "fairnas",
    **kwargs: Any,
) -> Network:
    """Build the stand-alone network of an architecture.

    Args:
        architecture: what to build.
        width: multiplier of every channel count.
        features_only: return feature maps `[B, C, H/s, W/s]` at strides 2, 4, 8, 16 and 32 instead of logits:
            those of `out_indices`, block outputs unless `feature_location="expansion"` (see `features.py`).
        pretrained: kept for timm's interface; no weights are published, so `True` raises.
        variant: the name under which timm knows the network.
        **kwargs: what timm's EfficientNet takes (`num_classes`, `in_chans`, `drop_rate`, `drop_path_rate`,
            `output_stride`, ...).

    Returns:
        A network that maps `[B, in_chans, H, W]` to `[B, num_classes]` logits.

    Raises:
        ValueError: `pretrained` was asked for.
    """
    if pretrained:
        raise ValueError(f"no weights are published for {variant}: train it with `fairnas retrain`, or load your own")
    space = get_space(architecture.space).scaled(width)
    activation = nn.ReLU if architecture.se_ratio else nn.ReLU6
    arguments = {
        "block_args": decode_arch_def(block_strings(space, architecture)),
        "stem_size": space.stem_channels,
        "num_features": space.head_channels,
        "act_layer": activation,
        "round_chs_fn": int,
        "se_layer": partial(SqueezeExcite, gate_layer="hard_sigmoid" if architecture.hard_swish else "sigmoid"),
        **kwargs,
    }
    network = build_model_with_cfg(
        EfficientNetFeatures if features_only else EfficientNet,
        variant,
        pretrained=False,
        kwargs_filter=("num_features", "num_classes", "global_pool") if features_only else None,  # pyright: ignore[reportArgumentType]
        **arguments,
    )
    initialise(network)
    return network


def initialise(network: nn.Module) -> None:
    """Initialise as the FairNAS authors' code does: convolutions N(0, sqrt(2 / (k * k * out))), groups not counted.

    But for the classifier: see `initialise_classifier`.
    """
    for module in network.modules():
        if isinstance(module, nn.Conv2d):
            fan_out = module.kernel_size[0] * module.kernel_size[1] * module.out_channels
            nn.init.normal_(module.weight, 0.0, math.sqrt(2.0 / fan_out))
            if module.bias is not None:
                nn.init.zeros_(module.bias)
        elif isinstance(module, nn.Linear):
            initialise_classifier(module)


def initialise_classifier(layer: nn.Linear) -> None:
    """Weights within 1 / sqrt(features), biases 0.

    The FairNAS authors' code and timm's EfficientNets take 1 / sqrt(classes), which is nearly the same for 1,280
    features and 1,000 classes, and with 10 classes starts at a loss of 10, and at gradients a hundred times as long.
    """
    bound = 1.0 / math.sqrt(layer.in_features)
    nn.init.uniform_(layer.weight, -bound, bound)
    if layer.bias is not None:
        nn.init.zeros_(layer.bias)


def _register(name: str, architecture: Architecture) -> None:
    def entrypoint(pretrained: bool = False, **kwargs: Any) -> Network:
        return build_network(architecture, pretrained=pretrained, variant=name, **kwargs)

    entrypoint.__name__ = name
    entrypoint.__module__ = __name__
    globals()[name] = entrypoint
    register_model(entrypoint)


def fairnas(pretrained: bool = False, architecture: str = "fairnas_a", **kwargs: Any) -> Network:
    """Any architecture through timm: `timm.create_model("fairnas", architecture="b:E3K7-...")`."""
    return build_network(parse_network(architecture), pretrained=pretrained, **kwargs)


register_model(fairnas)
for _name, _architecture in PUBLISHED.items():
    _register(_name, _architecture)
