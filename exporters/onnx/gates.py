"""Hard-Swish and hard sigmoid in 8 bits, exactly: a hard sigmoid is a way to read the numbers that are there.

With q the 8-bit number of x, scale s and zero point k, x is s (q - k). Let the smallest x be where the hard sigmoid
leaves 0, which is at q = 0; what lies below would be multiplied by 0 anyway. Then clip(alpha x + beta, 0, 1) is
alpha s min(q, k / beta): the same numbers, cut off above and read with another scale. So hard-Swish costs a minimum
and a product of 8-bit numbers, and the gate of a squeeze-and-excitation module nothing.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass

import numpy as np
import onnx

from ...latency_tables.runtimes.quantize import Range
from .graph import constants, consumers, producers, replace_nodes, without_unread

_HALF = 0.5  # the beta of every hard sigmoid in use: it makes k / beta a whole number
_MOST = 127  # of k, so that 2 k is an 8-bit number


def spell_out_hard_swish(model: onnx.ModelProto, exclude: Collection[str] = ()) -> None:
    """Write HardSwish as a hard sigmoid and a product, but for nodes of some names."""
    nodes = []
    for node in model.graph.node:
        if node.op_type == "HardSwish" and node.name not in exclude:
            gate = f"{node.output[0]}.gate"
            nodes.append(
                onnx.helper.make_node(
                    "HardSigmoid", node.input, [gate], name=f"{node.name}.gate", alpha=1 / 6, beta=_HALF
                )
            )
            nodes.append(onnx.helper.make_node("Mul", [node.input[0], gate], node.output, name=node.name))
        else:
            nodes.append(node)
    replace_nodes(model, nodes)


@dataclass(frozen=True)
class _Gate:
    """A hard sigmoid: what it takes, what it gives, and where it leaves 0."""

    taken: str
    given: str
    lowest: float


def gate_ranges(model: onnx.ModelProto, ranges: Mapping[str, Range]) -> dict[str, Range]:
    """Ranges under which a hard sigmoid is a way to read its input.

    Args:
        model: hard-Swish spelled out.
        ranges: as calibrated.

    Returns:
        Those that change.
    """
    changed: dict[str, Range] = {}
    for gate in _gates(model):
        if gate.taken not in ranges or gate.given not in ranges:
            continue  # it stays in float
        highest = max(ranges[gate.taken][1], -gate.lowest)
        zero_point = min(_MOST, int(-gate.lowest * 255 / (highest - gate.lowest)))
        scale = -gate.lowest / max(1, zero_point)
        changed[gate.taken] = (gate.lowest, gate.lowest + 255 * scale)
        changed[gate.given] = (0.0, 255 * _HALF / max(1, zero_point))
    return changed


def absorb_gates(model: onnx.ModelProto) -> None:
    """Replace each hard sigmoid between dequantising and quantising by a minimum of 8-bit numbers.

    Args:
        model: quantised under `gate_ranges`.
    """
    made, read, values = producers(model), consumers(model), constants(model)
    replaced: dict[str, onnx.NodeProto | None] = {}
    for node in model.graph.node:
        before = made.get(node.input[0])
        after = read[node.output[0]]
        if node.op_type != "HardSigmoid" or before is None or before.op_type != "DequantizeLinear":
            continue
        if len(after) != 1 or after[0].op_type != "QuantizeLinear":
            continue
        scale, zero_point = values[before.input[1]], values[before.input[2]]
        alpha, beta = _parameters(node)
        # What does not stand as `gate_ranges` has it, is left to the runtime.
        if beta != _HALF or not np.isclose(values[after[0].input[1]], alpha * scale) or not zero_point:
            continue
        limit = f"{node.output[0]}.limit"
        model.graph.initializer.append(onnx.numpy_helper.from_array(np.array(2 * int(zero_point), np.uint8), limit))
        replaced[node.name] = None
        replaced[after[0].name] = onnx.helper.make_node(
            "Min", [before.input[0], limit], after[0].output, name=node.name
        )
    nodes = [replaced.get(node.name, node) for node in model.graph.node]
    replace_nodes(model, without_unread([node for node in nodes if node is not None], model))


def _gates(model: onnx.ModelProto) -> list[_Gate]:
    read = consumers(model)
    found = []
    for node in model.graph.node:
        if node.op_type != "HardSigmoid":
            continue
        alpha, beta = _parameters(node)
        others = [other for other in read[node.input[0]] if other.name != node.name]
        # What lies below `lowest` is lost, so nobody else may read it: only the product with this gate.
        if beta == _HALF and all(other.op_type == "Mul" and node.output[0] in other.input for other in others):
            found.append(_Gate(node.input[0], node.output[0], -beta / alpha))
    return found


def _parameters(node: onnx.NodeProto) -> tuple[float, float]:
    given = {attribute.name: attribute.f for attribute in node.attribute}
    return given.get("alpha", 0.2), given.get("beta", 0.5)
