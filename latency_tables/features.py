"""The physical features of a block that a fitted table puts a price on."""

from __future__ import annotations

from ..models import Block

FEATURES = {
    "activated_madds": "multiply-adds of dense convolutions with an activation (stem, head, expansions)",
    "linear_madds": "multiply-adds of projections and of the classifier",
    "depthwise_madds": "multiply-adds of depthwise convolutions",
    "activated_elements": "elements written by dense convolutions with an activation",
    "depthwise_elements": "elements read and written by depthwise convolutions",
    "residual_elements": "elements added by the skip connection",
    "classifier_weights": "weights of the classifier, each read once per image",
}


def block_features(block: Block) -> dict[str, int]:
    """The features of a block without squeeze-and-excitation; every one grows with kernel, expansion and resolution.

    An operation costs its multiply-adds and, since phones are often bound by memory, the elements that it moves.
    """
    leaving = block.out_channels * block.out_resolution**2
    features = dict.fromkeys(FEATURES, 0)
    if block.kind == "classifier":
        return features | {"linear_madds": block.cost.madds, "classifier_weights": block.cost.madds}
    if block.kind == "conv":
        return features | {"activated_madds": block.cost.madds, "activated_elements": leaving}
    before, after = hidden_elements(block), block.hidden_channels * block.out_resolution**2
    features["linear_madds"] = after * block.out_channels
    features["depthwise_madds"] = after * block.kernel**2
    features["depthwise_elements"] = before + after
    if block.kind == "mbconv":
        features["activated_elements"] = before
        features["activated_madds"] = before * block.in_channels
    if block.has_skip:
        features["residual_elements"] = leaving
    return features


def hidden_elements(block: Block) -> int:
    """Elements of what enters the depthwise convolution (of the input, where there is none)."""
    return block.hidden_channels * block.resolution**2


def size_group(block: Block) -> str:
    """Blocks whose sizes are compared with each other when a fitted table says what it has seen."""
    return f"{block.kind}-s{block.stride}"


def block_sizes(block: Block) -> dict[str, int]:
    """The sizes whose measured range decides whether a block is extrapolated.

    The hidden feature map is among them because it decides what stays in the caches.
    """
    return {
        "in_channels": block.in_channels,
        "out_channels": block.out_channels,
        "resolution": block.resolution,
        "kernel": block.kernel,
        "expansion": block.expansion,
        "hidden_elements": hidden_elements(block),
    }
