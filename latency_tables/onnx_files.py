"""Anybody's ONNX models, made ready to be timed: every shape fixed, float32 in, checked."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import onnx

from .errors import LatencyError


def fixed_shapes(model: onnx.ModelProto, name: str, size: Sequence[int] | None = None) -> onnx.ModelProto:
    """A model at one size.

    Args:
        model: what to fix; it is not changed.
        name: what error messages call it.
        size: the shape of its only input, for example (1, 3, 224, 224); without it, an open first size (the batch)
            becomes 1, and any other open size is refused.

    Raises:
        LatencyError: an input is not float32, or its size is open and was not given.
    """
    fixed = onnx.ModelProto()
    fixed.CopyFrom(model)
    constants = {initializer.name for initializer in fixed.graph.initializer}
    inputs = [value for value in fixed.graph.input if value.name not in constants]
    if size is not None and len(inputs) != 1:
        raise LatencyError(f"{name} has {len(inputs)} inputs: a size can be given to models with one input only")
    for value in inputs:
        tensor = value.type.tensor_type
        if tensor.elem_type != onnx.TensorProto.FLOAT:
            kind = onnx.TensorProto.DataType.Name(tensor.elem_type).lower()
            raise LatencyError(f"{name}: input '{value.name}' is {kind}: only float32 inputs can be timed")
        dims = tensor.shape.dim
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
    return fixed


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
