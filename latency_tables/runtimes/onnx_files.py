"""Anybody's ONNX models, made ready to be timed: every shape fixed, float32 in and out, checked."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import onnx

from ..errors import LatencyError


def fixed_shapes(model: onnx.ModelProto, name: str, size: Sequence[int] | None = None) -> onnx.ModelProto:
    """A model at one size.

    Args:
        model: what to fix; it is not changed.
        name: what error messages call it.
        size: the shape of its only input, for example (1, 3, 224, 224); without it, an open first size (the batch)
            becomes 1, and any other open size is refused.

    Returns:
        The model. Inputs of other types are made of float32 ones, and the first output becomes float32, inside of it:
        every device gives and compares float32, and the conversions take next to no time.

    Raises:
        LatencyError: an input cannot be made of numbers, or its size is open and was not given.
    """
    fixed = onnx.ModelProto()
    fixed.CopyFrom(model)
    constants = {initializer.name for initializer in fixed.graph.initializer}
    inputs = [value for value in fixed.graph.input if value.name not in constants]
    if size is not None and len(inputs) != 1:
        raise LatencyError(f"{name} has {len(inputs)} inputs: a size can be given to models with one input only")
    for value in inputs:
        if not value.type.HasField("tensor_type") or value.type.tensor_type.elem_type not in _NUMBERS:
            kind = value.type.WhichOneof("value") or "of no type"
            if kind == "tensor_type":
                kind = onnx.TensorProto.DataType.Name(value.type.tensor_type.elem_type).lower()
            raise LatencyError(f"{name}: input '{value.name}' is {kind}: only inputs of numbers can be timed")
        dims = value.type.tensor_type.shape.dim
        if size is not None and len(size) != len(dims):
            raise LatencyError(f"{name}: input '{value.name}' has {len(dims)} dimensions, the size given {len(size)}")
        for place, dim in enumerate(dims):
            if size is not None:
                dim.dim_value = size[place]
            elif not dim.HasField("dim_value") or dim.dim_value < 1:
                if place > 0:
                    raise LatencyError(f"{name}: input '{value.name}' has an open size: add --input-size 1x3x224x224")
                dim.dim_value = 1
    # Inner shapes may repeat the open sizes; the runtime infers them again.
    del fixed.graph.value_info[:]
    for value in inputs:
        if value.type.tensor_type.elem_type != _FLOAT:
            _take_floats(fixed, value)
    if fixed.graph.output and fixed.graph.output[0].type.tensor_type.elem_type in _NUMBERS - {_FLOAT}:
        _give_floats(fixed, fixed.graph.output[0])
    return fixed


_FLOAT = onnx.TensorProto.FLOAT
_UNSIGNED = {onnx.TensorProto.UINT8, onnx.TensorProto.UINT16, onnx.TensorProto.UINT32, onnx.TensorProto.UINT64}
_WHOLE = {onnx.TensorProto.INT8, onnx.TensorProto.INT16, onnx.TensorProto.INT32, onnx.TensorProto.INT64} | _UNSIGNED
_NUMBERS = {_FLOAT, onnx.TensorProto.FLOAT16, onnx.TensorProto.DOUBLE, onnx.TensorProto.BOOL} | _WHOLE


def _take_floats(model: onnx.ModelProto, value: onnx.ValueInfoProto) -> None:
    """Let an input be float32. Whole numbers are made of its size alone: places in a table may not be negative."""
    kind, own = value.type.tensor_type.elem_type, f"{value.name}.own_type"
    for node in model.graph.node:
        node.input[:] = [own if each == value.name else each for each in node.input]
    source, nodes = value.name, []
    if kind in _WHOLE:
        nodes.append(onnx.helper.make_node("Abs", [source], [f"{own}.size"]))
        source = f"{own}.size"
    nodes.append(onnx.helper.make_node("Cast", [source], [own], to=kind))
    for place, node in enumerate(nodes):
        model.graph.node.insert(place, node)
    value.type.tensor_type.elem_type = _FLOAT


def _give_floats(model: onnx.ModelProto, value: onnx.ValueInfoProto) -> None:
    given = f"{value.name}.float32"
    model.graph.node.append(onnx.helper.make_node("Cast", [value.name], [given], to=_FLOAT))
    value.name = given
    value.type.tensor_type.elem_type = _FLOAT


def load_fixed(path: Path, size: Sequence[int] | None = None) -> bytes:
    """Read a model and fix its shapes.

    Raises:
        LatencyError: the file is no ONNX model, or see `fixed_shapes`.
    """
    if not path.is_file():
        raise LatencyError(f"there is no model {path}")
    try:
        model = onnx.load(path)
    except Exception as error:  # protobuf's errors share no base class with onnx's
        raise LatencyError(f"{path} is not an ONNX model: {str(error).splitlines()[0]}") from error
    if not model.graph.node:  # protobuf takes an empty file for a message without content
        raise LatencyError(f"{path} is not an ONNX model: it has no operators")
    return fixed_shapes(model, path.name, size).SerializeToString()
