"""The operators of our block models in PyTorch, so that they run wherever PyTorch does; any other is refused."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeAlias

import numpy as np
import onnx
import torch
from onnx import numpy_helper
from torch import Tensor, nn
from torch.nn import functional

from ...errors import LatencyError

Attributes: TypeAlias = Mapping[str, Any]
Constants: TypeAlias = Sequence[np.ndarray | None]
"""The value of each input of a node that is an initialiser; None for the others."""
Operation: TypeAlias = Callable[..., Tensor]


class OnnxInTorch(nn.Module):
    """An ONNX model with one input as a PyTorch module; initialisers become buffers.

    Args:
        name: what error messages call it.
        content: the serialised model; every shape is fixed.

    Attributes:
        input_shape: of the only input, float32.

    Raises:
        LatencyError: it is no such model, or holds an operator that is not known here.
    """

    def __init__(self, name: str, content: bytes) -> None:
        super().__init__()
        graph = _graph(name, content)
        constants = {tensor.name: np.array(numpy_helper.to_array(tensor)) for tensor in graph.initializer}
        inputs = [value for value in graph.input if value.name not in constants]
        if len(inputs) != 1:
            raise LatencyError(f"{name} has {len(inputs)} inputs: PyTorch runs models with one here")
        self._input, self._output = inputs[0].name, graph.output[0].name
        self.input_shape = _shape(name, inputs[0])
        self._steps = [(_operation(name, node, constants), list(node.input), node.output[0]) for node in graph.node]
        self._buffer_of = {initializer: f"constant_{place}" for place, initializer in enumerate(constants)}
        for initializer, value in constants.items():
            self.register_buffer(self._buffer_of[initializer], torch.from_numpy(value))

    def forward(self, x: Tensor) -> Tensor:
        """The first output for `x`, shaped `input_shape`."""
        values = {name: self.get_buffer(buffer) for name, buffer in self._buffer_of.items()} | {self._input: x}
        for operation, inputs, output in self._steps:
            values[output] = operation(*(values[name] if name else None for name in inputs))
        return values[self._output]


def _graph(name: str, content: bytes) -> onnx.GraphProto:
    try:
        model = onnx.load_from_string(content)
        onnx.checker.check_model(model)
    except Exception as error:  # protobuf's errors and the checker's share no base class
        raise LatencyError(f"{name} is no ONNX model: {(str(error).splitlines() or [''])[0]}") from error
    return model.graph


def _shape(name: str, value: onnx.ValueInfoProto) -> tuple[int, ...]:
    tensor = value.type.tensor_type
    shape = tuple(dim.dim_value for dim in tensor.shape.dim)
    if tensor.elem_type != onnx.TensorProto.FLOAT or not all(shape):
        raise LatencyError(f"{name}: input '{value.name}' is not float32 of a fixed shape")
    return shape


def _operation(name: str, node: onnx.NodeProto, constants: Mapping[str, np.ndarray]) -> Operation:
    where = f"{name}: {node.op_type} '{node.name or node.output[0]}'"
    if node.op_type not in _OPERATIONS or node.domain not in ("", "ai.onnx"):
        raise LatencyError(f"{where} cannot be run in PyTorch here: install onnxruntime-gpu or TensorRT")
    attributes = {attribute.name: onnx.helper.get_attribute_value(attribute) for attribute in node.attribute}
    try:
        return _OPERATIONS[node.op_type](attributes, [constants.get(input_name) for input_name in node.input])
    except _Unsupported as error:
        raise LatencyError(f"{where} cannot be run in PyTorch here: {error}") from error


class _Unsupported(Exception):  # noqa: N818 - becomes a LatencyError one call further out
    """What about a node is not covered."""


def _conv(attributes: Attributes, constants: Constants) -> Operation:
    if len(constants) < 2 or constants[1] is None or constants[1].ndim != 4:
        raise _Unsupported("its weights are not constant, or not for images")
    pads = attributes.get("pads", [0, 0, 0, 0])
    if attributes.get("auto_pad", b"NOTSET") not in (b"NOTSET", b"VALID") or pads[:2] != pads[2:]:
        raise _Unsupported("its padding differs from side to side")
    settings = {
        "stride": attributes.get("strides", [1, 1]),
        "padding": list(pads[:2]),
        "dilation": attributes.get("dilations", [1, 1]),
        "groups": attributes.get("group", 1),
    }
    return lambda x, weight, bias=None: functional.conv2d(x, weight, bias, **settings)


def _clip(attributes: Attributes, constants: Constants) -> Operation:
    if any(bound is None for bound in constants[1:]):
        raise _Unsupported("its bounds are not constants")
    bounds = [None if bound is None else float(bound) for bound in [*constants[1:], None, None][:2]]
    low, high = attributes.get("min", bounds[0]), attributes.get("max", bounds[1])
    return lambda x, *_: torch.clamp(x, low, high)


def _reduce_mean(attributes: Attributes, constants: Constants) -> Operation:
    axes = attributes.get("axes") or (None if len(constants) < 2 or constants[1] is None else constants[1].tolist())
    if not axes:
        raise _Unsupported("its axes are not constants")
    keep = bool(attributes.get("keepdims", 1))
    return lambda x, *_: x.mean(dim=axes, keepdim=keep)


def _flatten(attributes: Attributes, constants: Constants) -> Operation:
    axis = attributes.get("axis", 1)
    return lambda x: x.reshape(math.prod(x.shape[:axis]), -1)


def _gemm(attributes: Attributes, constants: Constants) -> Operation:
    alpha, beta = attributes.get("alpha", 1.0), attributes.get("beta", 1.0)
    turn_a, turn_b = attributes.get("transA", 0), attributes.get("transB", 0)

    def gemm(a: Tensor, b: Tensor, c: Tensor | None = None) -> Tensor:
        a, b = a.T if turn_a else a, b.T if turn_b else b
        return alpha * (a @ b) if c is None else torch.addmm(c, a, b, alpha=alpha, beta=beta)

    return gemm


def _hard_sigmoid(attributes: Attributes, constants: Constants) -> Operation:
    alpha, beta = attributes.get("alpha", 0.2), attributes.get("beta", 0.5)
    return lambda x: torch.clamp(alpha * x + beta, 0, 1)


def _plain(operation: Operation) -> Callable[[Attributes, Constants], Operation]:
    """An operator that has no attributes."""
    return lambda attributes, constants: operation


_OPERATIONS: dict[str, Callable[[Attributes, Constants], Operation]] = {
    "Add": _plain(torch.add),
    "Clip": _clip,
    "Conv": _conv,
    "Flatten": _flatten,
    "Gemm": _gemm,
    "GlobalAveragePool": _plain(lambda x: x.mean(dim=list(range(2, x.dim())), keepdim=True)),
    "HardSigmoid": _hard_sigmoid,
    "HardSwish": _plain(functional.hardswish),
    "Mul": _plain(torch.mul),
    "ReduceMean": _reduce_mean,
    "Relu": _plain(torch.relu),
    "Sigmoid": _plain(torch.sigmoid),
}
