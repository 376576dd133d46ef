"""A float ONNX graph made ready to be quantised: the same answers, in operators that 8 bits cover."""

from __future__ import annotations

import numpy as np
import onnx

from .onnx_graph import WEIGHTED, constants, consumers, copied, producers, replace_nodes, shapes


def prepared(model: onnx.ModelProto) -> onnx.ModelProto:
    """Constants in their place, each bias its own, and the mean over an image as the pooling that it is."""
    prepared = copied(model)
    _inline_constants(prepared)
    _separate_biases(prepared)
    _name_pooling(prepared)
    return prepared


def _inline_constants(model: onnx.ModelProto) -> None:
    """Replace Constant nodes, and Identity nodes of constants, by initializers.

    PyTorch's exporter stores equal biases once and hands them out through Identity nodes. To the quantiser those are
    activations, and ONNX Runtime then computes the convolution in float, between two conversions.
    """
    kept, known = [], {tensor.name: tensor for tensor in model.graph.initializer}
    for node in model.graph.node:
        value = None
        if node.op_type == "Constant" and node.attribute[0].name == "value":
            value = node.attribute[0].t
        elif node.op_type == "Identity":
            value = known.get(node.input[0])
        if value is None:
            kept.append(node)
            continue
        own = known[node.output[0]] = model.graph.initializer.add()
        own.CopyFrom(value)
        own.name = node.output[0]
    replace_nodes(model, kept)


def _separate_biases(model: onnx.ModelProto) -> None:
    """Give each layer a bias of its own: in 8 bits its scale is the layer's."""
    values, seen = constants(model), set()
    for node in model.graph.node:
        if node.op_type not in WEIGHTED or len(node.input) < 3:
            continue
        name = node.input[2]
        if name in seen and name in values:
            node.input[2] = f"{node.output[0]}.bias"
            model.graph.initializer.append(onnx.numpy_helper.from_array(values[name], node.input[2]))
        seen.add(name)


def _name_pooling(model: onnx.ModelProto) -> None:
    """Write a mean over height and width as GlobalAveragePool, which has an 8-bit form; ReduceMean has none."""
    values, sizes = constants(model), shapes(model)
    for node in model.graph.node:
        if node.op_type != "ReduceMean" or len(sizes.get(node.input[0], ())) != 4:
            continue
        given = {attribute.name: onnx.helper.get_attribute_value(attribute) for attribute in node.attribute}
        axes = values.get(node.input[1]) if len(node.input) > 1 else given.get("axes")
        if axes is not None and sorted(int(axis) % 4 for axis in np.ravel(axes)) == [2, 3] and given.get("keepdims", 1):
            pooling = onnx.helper.make_node("GlobalAveragePool", node.input[:1], node.output, name=node.name)
            node.CopyFrom(pooling)
    replace_nodes(model, model.graph.node)


def float_front(model: onnx.ModelProto) -> list[str]:
    """Names of the first nodes of a network, that 8 bits would make slower rather than faster.

    In 8 bits a convolution with few channels leaves the matrix units idle: measured on x86 with VNNI, the first one,
    of 3 channels, takes twice the time that it takes in float. Where activations are products (Swish and hard-Swish,
    which in float come for free with the convolution), narrow convolutions do not make up for the product, in 8 bits
    an operator of its own: FairNAS-C with SE is faster in float up to 64 channels.

    The front ends where a single tensor leads on, so that there is one conversion.

    Args:
        model: `prepared`, hard-Swish as one operator.
    """
    narrow = _NARROW_WITH_PRODUCTS if _activates_by_products(model) else _NARROW
    nodes, sizes = list(model.graph.node), shapes(model)
    weights = {tensor.name: tuple(tensor.dims) for tensor in model.graph.initializer}
    last_reader = {name: place for place, node in enumerate(nodes) for name in node.input}
    front, alive, has_wide = 0, set(), False
    for place, node in enumerate(nodes):
        has_wide = node.op_type in WEIGHTED and _width(node, weights, sizes) >= narrow
        if has_wide:
            break
        alive |= set(node.output)
        alive = {name for name in alive if last_reader.get(name, -1) > place}
        if len(alive) == 1 and not _reads_input_after(model, place, last_reader):
            front = place + 1
    return [node.name for node in nodes[:front]] if has_wide else []


_NARROW, _NARROW_WITH_PRODUCTS = 16, 64


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


def _reads_input_after(model: onnx.ModelProto, place: int, last_reader: dict[str, int]) -> bool:
    return any(last_reader.get(value.name, -1) > place for value in model.graph.input)


def layers(model: onnx.ModelProto) -> dict[str, list[str]]:
    """Names of nodes by layer: a convolution or classifier and what follows until the next, by the former's name.

    What comes before the first of them belongs to none.
    """
    owners: dict[str, int] = {}
    leaders: list[str] = []
    found: dict[str, list[str]] = {}
    for node in model.graph.node:
        if node.op_type in WEIGHTED:
            leaders.append(node.name)
            owner = len(leaders) - 1
        else:
            owner = max((owners.get(name, -1) for name in node.input), default=-1)
        owners |= dict.fromkeys(node.output, owner)
        if owner >= 0:
            found.setdefault(leaders[owner], []).append(node.name)
    return found


def read_only_by(model: onnx.ModelProto, kinds: tuple[str, ...]) -> dict[str, str]:
    """Tensors with one reader, which is of one of some types, and the tensor which that one makes."""
    return {
        name: readers[0].output[0]
        for name, readers in consumers(model).items()
        if len(readers) == 1 and readers[0].op_type in kinds and readers[0].input[0] == name
    }
