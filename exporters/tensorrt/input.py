"""What TensorRT would misread in an ONNX file, or refuse without saying what to do, is refused here."""

from __future__ import annotations

import numpy as np
import onnx
from google.protobuf.message import DecodeError
from onnx import TensorProto

from ..errors import ExportError

_HALVES = ("QuantizeLinear", "DequantizeLinear")


def require_readable(content: bytes) -> None:
    """Check a network's ONNX file before TensorRT sees it.

    Its 8-bit numbers are to be signed and symmetric, its biases float. TensorRT itself reads unsigned numbers as signed
    ones, and so gives wrong answers where their zero point is 0, as it is behind a ReLU.

    Raises:
        ExportError: it is no ONNX file, has other than one input and one output, or is quantised in another way.
    """
    try:
        graph = onnx.load_model_from_string(content).graph
    except DecodeError as error:
        raise ExportError("this is no ONNX file, or a damaged one: TensorRT engines are built from ONNX") from error
    constants = {tensor.name: tensor for tensor in graph.initializer}
    constants |= {
        node.output[0]: attribute.t
        for node in graph.node
        if node.op_type == "Constant"
        for attribute in node.attribute
        if attribute.name == "value"
    }
    inputs = [value for value in graph.input if value.name not in constants]
    if len(inputs) != 1 or len(graph.output) != 1:
        raise ExportError(
            f"a TensorRT engine is built for one input and one output: this ONNX file has {len(inputs)} and "
            f"{len(graph.output)}"
        )
    for node in graph.node:
        if node.op_type in _HALVES:
            _require_signed(node, constants)


def _require_signed(node: onnx.NodeProto, constants: dict[str, TensorProto]) -> None:
    typed = {attribute.name: attribute.i for attribute in node.attribute}
    zero_point = constants.get(node.input[2]) if len(node.input) > 2 else None
    values = constants.get(node.input[0]) if node.op_type == "DequantizeLinear" else None
    if zero_point is not None:
        kind = zero_point.data_type
    elif values is not None:
        kind = values.data_type
    elif node.op_type == "QuantizeLinear":
        kind = typed.get("output_dtype", 0) or TensorProto.UINT8  # ONNX's default
    else:
        return  # the half that quantises says it
    name = TensorProto.DataType.Name(kind).lower()
    if kind == TensorProto.INT32:
        raise ExportError(
            f"{node.op_type} '{node.name}' holds a quantised bias (int32), but TensorRT takes biases in float only: "
            "quantise without biases"
        )
    shifted = zero_point is not None and bool(np.any(onnx.numpy_helper.to_array(zero_point)))
    if kind == TensorProto.UINT8 or shifted:
        raise ExportError(
            f"{node.op_type} '{node.name}' is {name}{' with a zero point' if shifted else ''}, but TensorRT's 8-bit "
            "numbers are signed and symmetric: quantise with signed, symmetric activations"
        )
