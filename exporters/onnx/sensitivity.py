"""Which layers 8 bits hurt most: each quantised alone, and the logits compared."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import onnx
from torch import Tensor

from .graph import constants, consumers, copied, inner_tensors, producers, replace_nodes


@dataclass(frozen=True, slots=True)
class Culprit:
    """A part of a network that suffers from 8 bits.

    Attributes:
        layer: its name.
        part: the layer's weights, or what it gives.
        moved: how far logits move, on average, when nothing but this is in 8 bits.
        layers: what is to be in float for this to be in float: of what a layer gives, its readers as well.
    """

    layer: str
    part: Literal["weights", "output"]
    moved: float
    layers: frozenset[str]


def culprits(
    model: onnx.ModelProto,
    quantised: onnx.ModelProto,
    layers: Mapping[str, Sequence[str]],
    images: Tensor,
    progress: Callable[[str], None],
) -> list[Culprit]:
    """Put the weights of each layer in 8 bits, and nothing else, then what it gives, and see how far logits move.

    Args:
        model: in float, as it was quantised.
        quantised: the same in the QDQ form.
        layers: names of nodes by layer.
        images: preprocessed, `[N, C, H, W]`.
        progress: is told how far this is.

    Returns:
        The worst first.
    """
    (output,) = (value.name for value in model.graph.output)
    reference = _logits(model, output, images)
    weights, activations = _dequantised_weights(quantised), _quantised_activations(quantised)
    readers = _readers(model, layers)
    found = []
    for number, (layer, nodes) in enumerate(layers.items(), start=1):
        progress(f"sensitivity of layer {number} of {len(layers)}")
        parts: tuple[Literal["weights", "output"], ...] = ("weights", "output")
        for part, values, tensors in zip(parts, (weights, {}), ({}, activations), strict=True):
            alone = _only(model, set(nodes), values, tensors)
            moved = float(np.abs(_logits(alone, output, images) - reference).mean())
            needed = {layer} if part == "weights" else {layer, *readers[layer]}
            found.append(Culprit(layer, part, moved, frozenset(needed)))
    return sorted(found, key=lambda culprit: -culprit.moved)


def _readers(model: onnx.ModelProto, layers: Mapping[str, Sequence[str]]) -> dict[str, set[str]]:
    """Layers that read what a layer gives, by layer."""
    owners = {node: layer for layer, nodes in layers.items() for node in nodes}
    made = producers(model)
    found: dict[str, set[str]] = {layer: set() for layer in layers}
    for node in model.graph.node:
        for source in (owners.get(made[name].name) for name in node.input if name in made):
            if source is not None and node.name in owners:
                found[source].add(owners[node.name])
    return found


def _logits(model: onnx.ModelProto, output: str, images: Tensor) -> np.ndarray:
    return np.concatenate([values[output] for values in inner_tensors(model, [output], images)])


def _dequantised_weights(quantised: onnx.ModelProto) -> dict[tuple[str, int], np.ndarray]:
    """What 8 bits leave of the weights, by the name of the node that reads them and the place of the input."""
    made, values = producers(quantised), constants(quantised)
    found = {}
    for node in quantised.graph.node:
        for place, name in enumerate(node.input):
            source = made.get(name)
            if source is not None and source.op_type == "DequantizeLinear" and source.input[0] in values:
                weight, scale = values[source.input[0]].astype(np.float32), values[source.input[1]]
                axis = next((attribute.i for attribute in source.attribute if attribute.name == "axis"), 1)
                shape = [1] * weight.ndim
                if scale.size > 1:
                    shape[axis] = scale.size
                found[node.name, place] = weight * (scale.reshape(shape) if weight.ndim else scale)
    return found


def _quantised_activations(quantised: onnx.ModelProto) -> dict[str, tuple[np.ndarray, np.ndarray]]:
    """Scale and zero point by tensor."""
    values = constants(quantised)
    return {
        node.input[0]: (values[node.input[1]], values[node.input[2]])
        for node in quantised.graph.node
        if node.op_type == "QuantizeLinear"
    }


def _only(
    model: onnx.ModelProto,
    names: set[str],
    weights: Mapping[tuple[str, int], np.ndarray],
    activations: Mapping[str, tuple[np.ndarray, np.ndarray]],
) -> onnx.ModelProto:
    """The float model with the weights and outputs of some nodes as 8 bits leave them."""
    changed = copied(model)
    read, last = consumers(changed), {value.name for value in changed.graph.output}
    nodes = []
    for node in changed.graph.node:
        nodes.append(node)
        if node.name not in names:
            continue
        for place in range(len(node.input)):
            weight = weights.get((node.name, place))
            if weight is not None:
                node.input[place] = f"{node.name}.{place}"
                changed.graph.initializer.append(onnx.numpy_helper.from_array(weight, node.input[place]))
        for name in node.output:
            if name in activations and name not in last:
                nodes += _pair(changed, name, *activations[name])
                for reader in read[name]:
                    reader.input[:] = [f"{name}.8bit" if taken == name else taken for taken in reader.input]
    replace_nodes(changed, nodes)
    return changed


def _pair(model: onnx.ModelProto, name: str, scale: np.ndarray, zero_point: np.ndarray) -> list[onnx.NodeProto]:
    """Quantise a tensor and dequantise it again, as `name.8bit`."""
    parameters = [f"{name}.scale", f"{name}.zero"]
    for parameter, value in zip(parameters, (scale, zero_point), strict=True):
        model.graph.initializer.append(onnx.numpy_helper.from_array(value, parameter))
    return [
        onnx.helper.make_node("QuantizeLinear", [name, *parameters], [f"{name}.q"], name=f"{name}.quantize"),
        onnx.helper.make_node("DequantizeLinear", [f"{name}.q", *parameters], [f"{name}.8bit"], name=f"{name}.back"),
    ]
