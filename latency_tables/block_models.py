"""Blocks, alone or in a chain, as ONNX models: what is run on a device to learn what they cost there."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from ..models import Block

OPSET = 18
# The first IR version that knows opset 18 in released runtimes; newer ones would shut out older runtimes.
IR_VERSION = 9


def block_model(block: Block) -> onnx.ModelProto:
    """The inference form of a block: batch norm folded into biased convolutions, every shape fixed.

    Weights are random from a fixed seed, scaled so that activations neither vanish nor grow (denormals are slow).
    Initialisers are called `<part>.weight` and `<part>.bias`, with the parts `conv`, `expand`, `depthwise`, `squeeze`,
    `excite`, `project` and `classifier`.

    Returns:
        A model from `input` `[1, in_channels, resolution, resolution]` to `output`: `[1, out_channels, r, r]` with
        r = `block.out_resolution`, or `[1, out_channels]` for a classifier.
    """
    return _model(block.signature, {"": block})


def network_model(blocks: Sequence[Block]) -> onnx.ModelProto:
    """The chain of the same blocks as one model: what a whole network costs, without training one.

    Initialisers are called as in `block_model`, after the block's place in the chain: `0.conv.weight`.

    Returns:
        A model from `input`, shaped as the first block's, to `output`, shaped as the last block's.
    """
    return _model("network", {f"{place}.": block for place, block in enumerate(blocks)})


def _model(name: str, blocks: Mapping[str, Block]) -> onnx.ModelProto:
    """A chain of blocks by the prefixes of their weights."""
    graph, x, chain = _Graph(), "input", list(blocks.values())
    for prefix, block in blocks.items():
        graph.prefix = prefix
        x = _BUILDERS[block.kind](graph, block, x)
    graph.nodes[-1].output[0] = "output"
    first, last = chain[0], chain[-1]
    spatial = [] if last.kind == "classifier" else [last.out_resolution] * 2
    return helper.make_model(
        helper.make_graph(
            graph.nodes,
            name,
            [_tensor("input", [1, first.in_channels, first.resolution, first.resolution])],
            [_tensor("output", [1, last.out_channels, *spatial])],
            graph.initializers,
        ),
        opset_imports=[helper.make_opsetid("", OPSET)],
        ir_version=IR_VERSION,
        producer_name="fairnas",
    )


class _Graph:
    """Nodes and weights in the making; each method adds one operation and returns the name of its output.

    Attributes:
        prefix: what the names of weights begin with; constants are shared by all blocks.
    """

    def __init__(self) -> None:
        self.prefix = ""
        self.nodes: list[onnx.NodeProto] = []
        self.initializers: list[onnx.TensorProto] = []
        self._rng = np.random.default_rng(0)

    def conv(
        self, part: str, x: str, channels: tuple[int, int], kernel: int = 1, stride: int = 1, groups: int = 1
    ) -> str:
        in_channels, out_channels = channels
        weight = self._weights(part, (out_channels, in_channels // groups, kernel, kernel))
        pad = kernel // 2
        return self._node(
            "Conv",
            [x, *weight],
            kernel_shape=[kernel] * 2,
            strides=[stride] * 2,
            pads=[pad] * 4,
            group=groups,
        )

    def linear(self, part: str, x: str, in_channels: int, out_channels: int) -> str:
        return self._node("Gemm", [x, *self._weights(part, (out_channels, in_channels))], transB=1)

    def activation(self, x: str, kind: str) -> str:
        if kind == "none":
            return x
        if kind == "relu":
            return self._node("Relu", [x])
        if kind == "relu6":
            return self._node("Clip", [x, self._constant("zero", 0.0), self._constant("six", 6.0)])
        if kind == "hswish":
            return self._node("HardSwish", [x])
        return self._node("Mul", [x, self._node("Sigmoid", [x])])

    def squeeze_excite(self, x: str, channels: int, squeezed: int, activation: str) -> str:
        axes = self._initializer("spatial", np.array([2, 3], dtype=np.int64))
        pooled = self._node("ReduceMean", [x, axes], keepdims=1)
        inner = self.activation(self.conv("squeeze", pooled, (channels, squeezed)), activation)
        return self._node("Mul", [x, self.gate(self.conv("excite", inner, (squeezed, channels)), activation)])

    def gate(self, x: str, activation: str) -> str:
        """A sigmoid; a hard one beside hard-Swish, with PyTorch's slope, which is not ONNX's default."""
        if activation == "hswish":
            return self._node("HardSigmoid", [x], alpha=1 / 6, beta=0.5)
        return self._node("Sigmoid", [x])

    def add(self, x: str, y: str) -> str:
        return self._node("Add", [x, y])

    def pool(self, x: str) -> str:
        return self._node("Flatten", [self._node("GlobalAveragePool", [x])], axis=1)

    def _node(self, operator: str, inputs: list[str], **attributes: Any) -> str:
        output = f"{operator.lower()}_{len(self.nodes)}"
        self.nodes.append(helper.make_node(operator, inputs, [output], name=output, **attributes))
        return output

    def _weights(self, part: str, shape: tuple[int, ...]) -> tuple[str, str]:
        scale = math.sqrt(2.0 / math.prod(shape[1:]))
        weight = self._rng.standard_normal(shape, dtype=np.float32) * np.float32(scale)
        bias = self._rng.standard_normal(shape[0], dtype=np.float32) * np.float32(0.1)
        name = f"{self.prefix}{part}"
        return self._initializer(f"{name}.weight", weight), self._initializer(f"{name}.bias", bias)

    def _constant(self, name: str, value: float) -> str:
        return self._initializer(name, np.array(value, dtype=np.float32))

    def _initializer(self, name: str, value: np.ndarray) -> str:
        if all(existing.name != name for existing in self.initializers):
            self.initializers.append(numpy_helper.from_array(value, name))
        return name


def _conv(graph: _Graph, block: Block, x: str) -> str:
    x = graph.conv("conv", x, (block.in_channels, block.out_channels), block.kernel, block.stride)
    return graph.activation(x, block.activation)


def _sepconv(graph: _Graph, block: Block, x: str) -> str:
    return graph.conv("project", _depthwise(graph, block, x), (block.hidden_channels, block.out_channels))


def _mbconv(graph: _Graph, block: Block, x: str) -> str:
    entering, hidden = x, block.hidden_channels
    x = graph.activation(graph.conv("expand", x, (block.in_channels, hidden)), block.activation)
    x = _depthwise(graph, block, x)
    if block.squeeze_channels:
        x = graph.squeeze_excite(x, hidden, block.squeeze_channels, block.activation)
    x = graph.conv("project", x, (hidden, block.out_channels))
    return graph.add(x, entering) if block.has_skip else x


def _depthwise(graph: _Graph, block: Block, x: str) -> str:
    hidden = block.hidden_channels
    return graph.activation(
        graph.conv("depthwise", x, (hidden, hidden), block.kernel, block.stride, hidden), block.activation
    )


def _classifier(graph: _Graph, block: Block, x: str) -> str:
    x = graph.linear("classifier", graph.pool(x), block.in_channels, block.out_channels)
    return graph.activation(x, block.activation)


_BUILDERS = {"conv": _conv, "sepconv": _sepconv, "mbconv": _mbconv, "classifier": _classifier}


def _tensor(name: str, shape: list[int]) -> onnx.ValueInfoProto:
    return helper.make_tensor_value_info(name, TensorProto.FLOAT, shape)
