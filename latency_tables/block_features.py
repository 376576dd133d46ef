"""The physical features of operators and blocks that a fitted table puts a price on.

An operation costs its multiply-adds and, since phones are often bound by memory, the elements and weights that it
moves. A table prices those of these features that the measured blocks have. The features of a network are sums.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import TypeAlias

from ..models import Block

FEATURES = {
    "dense_madds": "multiply-adds of dense convolutions and of the classifier",
    "activated_madds": "those with an activation (stem, head, expansions)",
    "linear_madds": "those without (projections, classifier)",
    "depthwise_madds": "multiply-adds of depthwise convolutions",
    "activated_elements": "elements written by dense convolutions with an activation",
    "linear_elements": "elements written by dense convolutions without one",
    "depthwise_elements": "elements read and written by depthwise convolutions",
    "depthwise_elements_beyond_512kb": "those of a block beyond 512 KB: what leaves a phone's L2 cache in between",
    "residual_elements": "elements added by the skip connection",
    "dense_weights": "weights of dense convolutions, each read once per image",
    "weights_beyond_1mb": "32-bit weights of a block's dense convolutions beyond 1 MB, a small board's whole L2 cache",
    "classifier_weights": "weights of the classifier, each read once per image",
    "operators": "convolutions, each with a fixed cost",
    "pooled_elements": "elements read by global average pooling",
    "squeeze_elements": "elements pooled, and scaled again, by squeeze-and-excitation",
    "squeeze_weights": "weights of squeeze-and-excitation",
    "hswish_elements": "elements through h-swish, which is an operation of its own where relu is not",
    "shuffled_elements": "elements moved by a channel shuffle between grouped convolutions",
}

Features: TypeAlias = dict[str, int]
"""Amounts of some `FEATURES`; those that are not named are 0."""

_WEIGHTS_IN_1MB = 2**20 // 4
_ELEMENTS_IN_512KB = 2**19 // 4


def block_features(block: Block) -> Features:
    """All features of a block; every one grows with kernel, expansion and resolution.

    relu and relu6 are clamps that runtimes fuse into the convolution: they have no feature, and cost what they cost in
    the measured blocks. Swish has none because no measured block has it: its blocks cannot be priced with these.
    """
    swished = activated_elements(block) if block.activation == "hswish" else 0
    return dict.fromkeys(FEATURES, 0) | _operators(block) | {"hswish_elements": swished}


def activated_elements(block: Block) -> int:
    """Elements that go through the block's activation; those inside squeeze-and-excitation are too few to count."""
    if block.kind in ("conv", "classifier"):
        return block.out_channels * block.out_resolution**2
    after_expansion = block.hidden_channels * block.resolution**2 if block.kind == "mbconv" else 0
    return after_expansion + block.hidden_channels * block.out_resolution**2


def _operators(block: Block) -> Features:
    channels = block.in_channels, block.out_channels
    if block.kind == "classifier":
        return classifier(*channels, block.resolution)
    if block.kind == "conv":
        return convolution(*channels, block.out_resolution, kernel=block.kernel)
    return inverted_residual(
        *channels,
        block.resolution,
        block.out_resolution,
        hidden=block.hidden_channels,
        kernel=block.kernel,
        expands=block.kind == "mbconv",
        adds=block.has_skip,
        squeezed=block.squeeze_channels,
    )


def convolution(
    in_channels: int,
    out_channels: int,
    out_resolution: int,
    *,
    kernel: int = 1,
    groups: int = 1,
    activated: bool = True,
) -> Features:
    """A convolution that mixes channels, from which `out_resolution` x `out_resolution` pixels leave."""
    weights = in_channels * out_channels * kernel**2 // groups
    madds, written = weights * out_resolution**2, out_channels * out_resolution**2
    return {
        "dense_madds": madds,
        "activated_madds" if activated else "linear_madds": madds,
        "activated_elements" if activated else "linear_elements": written,
        "dense_weights": weights,
        "weights_beyond_1mb": max(0, weights - _WEIGHTS_IN_1MB),
        "operators": 1,
    }


def classifier(in_channels: int, out_channels: int, resolution: int) -> Features:
    """Global average pooling of `resolution` x `resolution` pixels, and a fully connected layer."""
    weights = in_channels * out_channels
    return {
        "dense_madds": weights,
        "linear_madds": weights,
        "classifier_weights": weights,
        "pooled_elements": in_channels * resolution**2,
    }


def inverted_residual(
    in_channels: int,
    out_channels: int,
    resolution: int,
    out_resolution: int,
    *,
    hidden: int,
    kernel: int,
    expands: bool = True,
    adds: bool = False,
    squeezed: int = 0,
    groups: int = 1,
) -> Features:
    """An expansion (where it `expands`), a depthwise convolution and a projection.

    Args:
        in_channels: of the block.
        out_channels: of the block.
        resolution: of its input, in pixels.
        out_resolution: of its output, in pixels.
        hidden: channels of the depthwise convolution.
        kernel: size of the depthwise kernel.
        expands: it begins with a 1x1 convolution.
        adds: a skip connection is added.
        squeezed: channels inside squeeze-and-excitation; 0 where there is none.
        groups: of both 1x1 convolutions; more than one with a channel shuffle between them.
    """
    before, after, leaving = hidden * resolution**2, hidden * out_resolution**2, out_channels * out_resolution**2
    parts = [
        {
            "depthwise_madds": after * kernel**2,
            "depthwise_elements": before + after,
            "depthwise_elements_beyond_512kb": max(0, before + after - _ELEMENTS_IN_512KB),
            "operators": 1,
        },
        convolution(hidden, out_channels, out_resolution, groups=groups, activated=False),
    ]
    if expands:
        parts.append(convolution(in_channels, hidden, resolution, groups=groups))
    if adds:
        parts.append({"residual_elements": leaving})
    if squeezed:
        parts.append({"squeeze_elements": after, "squeeze_weights": 2 * hidden * squeezed})
    if groups > 1:
        parts.append({"shuffled_elements": before})
    features = total(parts)
    # What matters is whether the weights of a block fit together, not those of each of its convolutions.
    return features | {"weights_beyond_1mb": max(0, features["dense_weights"] - _WEIGHTS_IN_1MB)}


def total(parts: Iterable[Features]) -> Features:
    """The features of operators or blocks together."""
    features: Features = {}
    for part in parts:
        for name, amount in part.items():
            features[name] = features.get(name, 0) + amount
    return features


def difference(features: Features, less: Features) -> Features:
    """What one thing has more than another; may be negative."""
    return total([features, {name: -amount for name, amount in less.items()}])


def hidden_elements(block: Block) -> int:
    """Elements of what enters the depthwise convolution (of the input, where there is none)."""
    return block.hidden_channels * block.resolution**2


def size_group(block: Block) -> str:
    """Blocks whose sizes are compared with each other when a fitted table says what it has seen."""
    return f"{block.kind}-s{block.stride}"


def shape(block: Block) -> str:
    """What blocks of one place in a network share, whatever their kernel and expansion: `mbconv-32x56-32-s1`."""
    return f"{block.kind}-{block.in_channels}x{block.resolution}-{block.out_channels}-s{block.stride}"


def block_sizes(block: Block) -> dict[str, int]:
    """The sizes whose measured range decides whether a block is extrapolated.

    The hidden feature map is among them because it decides what stays in the caches. Where no block of a table has
    `squeeze_channels`, the table has no price for squeeze-and-excitation.
    """
    return {
        "in_channels": block.in_channels,
        "out_channels": block.out_channels,
        "resolution": block.resolution,
        "kernel": block.kernel,
        "expansion": block.expansion,
        "hidden_elements": hidden_elements(block),
        "squeeze_channels": block.squeeze_channels,
    }
