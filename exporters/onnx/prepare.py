"""A float ONNX graph made ready to be quantised: the same answers, in operators that 8 bits cover."""

from __future__ import annotations

import numpy as np
import onnx

from .graph import WEIGHTED, constants, consumers, copied, replace_nodes, shapes


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
