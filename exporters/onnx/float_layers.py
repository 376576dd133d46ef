"""What stays in float in an 8-bit ONNX file: what 8 bits would not make faster, and what suffers from them."""

from __future__ import annotations

import math
from collections.abc import Collection

import numpy as np
import onnx

from .graph import WEIGHTED, constants, producers, replace_nodes, shapes, without_unread


def float_front(model: onnx.ModelProto) -> list[str]:
    """Names of the first nodes of a network, that 8 bits would make slower rather than faster.

    In 8 bits a convolution with few channels leaves the matrix units idle: measured on x86 with VNNI, the first one,
    of 3 channels, takes twice the time that it takes in float. Where activations are products (Swish and hard-Swish,
    which in float come for free with the convolution), narrow convolutions do not make up for the product, in 8 bits
    an operator of its own: FairNAS-C with SE is faster in float up to 64 channels.

    The front ends where a single tensor leads on, so that there is one conversion, and holds few of the weights, so
    that the file stays small.

    Args:
        model: `prepared`, hard-Swish as one operator.
    """
    narrow = _NARROW_WITH_PRODUCTS if _activates_by_products(model) else _NARROW
    nodes, sizes = list(model.graph.node), shapes(model)
    weights = {tensor.name: tuple(tensor.dims) for tensor in model.graph.initializer}
    budget = _MOST_WEIGHTS * sum(math.prod(shape) for shape in weights.values())
    last_reader = {name: place for place, node in enumerate(nodes) for name in node.input}
    front, alive = 0, {value.name for value in model.graph.input}
    for place, node in enumerate(nodes):
        budget -= sum(math.prod(weights.get(name, (0,))) for name in node.input)
        if budget < 0 or (node.op_type in WEIGHTED and _width(node, weights, sizes) >= narrow):
            break
        alive |= set(node.output)
        alive = {name for name in alive if last_reader.get(name, -1) > place}
        if len(alive) == 1:
            front = place + 1
    return [node.name for node in nodes[:front]]


_NARROW, _NARROW_WITH_PRODUCTS = 16, 64  # channels
_MOST_WEIGHTS = 0.1


def _width(
    node: onnx.NodeProto, weights: dict[str, tuple[int, ...]], sizes: dict[str, tuple[int | None, ...]]
) -> float:
    """The smaller number of channels of a layer; 0 of a depthwise one or one on a single pixel (a gate)."""
    shape = weights.get(node.input[1])
    if node.op_type != "Conv" or shape is None:
        return np.inf  # a classifier, or a product of activations
    groups = next((attribute.i for attribute in node.attribute if attribute.name == "group"), 1)
    if groups > 1 or sizes.get(node.input[0], ())[2:] == (1, 1):
        return 0
    return min(shape[0], shape[1])


def _activates_by_products(model: onnx.ModelProto) -> bool:
    made = producers(model)
    return any(
        node.op_type == "HardSwish"
        or (
            node.op_type == "Mul"
            and any(
                name in made and made[name].op_type in ("Sigmoid", "HardSigmoid") and made[name].input[0] in node.input
                for name in node.input
            )
        )
        for node in model.graph.node
    )


def keep_in_float(model: onnx.ModelProto, names: Collection[str]) -> None:
    """Keep ONNX Runtime from quantising layers that were left in float.

    It does so by itself, with one scale for all weights of the layer, where the input of a convolution or Gemm is
    dequantised with a single scale and the output is quantised. So these get their input dequantised with a scale
    per channel: the same one each time.
    """
    made, values = producers(model), constants(model)
    nodes = []
    for node in model.graph.node:
        source = made.get(node.input[0]) if node.op_type in ("Conv", "Gemm") and node.name in names else None
        if source is not None and source.op_type == "DequantizeLinear" and not values[source.input[1]].ndim:
            channels = _channels(node, values[node.input[1]].shape)
            own = onnx.helper.make_node("DequantizeLinear", [source.input[0]], [f"{node.name}.float"], axis=1)
            own.name = f"{node.name}.dequantise"
            for kind, name in zip(("scale", "zero"), source.input[1:], strict=True):
                own.input.append(f"{node.name}.{kind}")
                model.graph.initializer.append(
                    onnx.numpy_helper.from_array(np.repeat(values[name], channels), own.input[-1])
                )
            nodes.append(own)
            node.input[0] = own.output[0]
        nodes.append(node)
    replace_nodes(model, without_unread(nodes, model))


def _channels(node: onnx.NodeProto, weight: tuple[int, ...]) -> int:
    """How many channels a convolution or Gemm takes."""
    given = {attribute.name: attribute.i for attribute in node.attribute}
    if node.op_type == "Conv":
        return weight[1] * given.get("group", 1)
    return weight[1] if given.get("transB") else weight[0]
