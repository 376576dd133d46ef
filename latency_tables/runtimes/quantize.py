"""The 8-bit form of a block or a network, as a deployed one would have it."""

from __future__ import annotations

import logging
import tempfile
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnx

from ..probe import probe_input
from .onnxruntime import onnxruntime as _onnxruntime  # noqa: F401  (first: it switches the collector off)

from onnxruntime.quantization import (  # isort: skip
    CalibrationDataReader,
    QuantFormat,
    QuantType,
    quantize_static,
)

Range = tuple[float, float]
"""The smallest and the largest value that 8 bits are to hold."""


def quantized(model: onnx.ModelProto) -> onnx.ModelProto:
    """Static quantisation in the QDQ form: weights signed per channel, activations unsigned per tensor.

    Ranges come from the probe input, since what is timed has no meaning and its speed does not depend on it.
    """
    probe = {
        value.name: probe_input(tuple(size.dim_value for size in value.type.tensor_type.shape.dim))
        for value in model.graph.input
    }
    return quantized_from([probe], model)


def quantized_from(
    inputs: Iterable[dict[str, np.ndarray]],
    model: onnx.ModelProto,
    *,
    ranges: Mapping[str, Range] | None = None,
    operators: Sequence[str] | None = None,
    exclude: Sequence[str] = (),
    float_outputs: Sequence[str] = (),
    signed: bool = False,
) -> onnx.ModelProto:
    """Static quantisation in the QDQ form: weights signed per channel, activations per tensor.

    Args:
        inputs: a model's inputs by name, float32; tensors without an entry in `ranges` get the range seen on these.
        model: in float; it is not changed.
        ranges: of activations, by name of the tensor.
        operators: types of those that are quantised; without it, all that ONNX Runtime knows to quantise.
        exclude: names of nodes that stay in float.
        float_outputs: types of operators whose outputs are not quantised, unless what reads them asks for it.
        signed: activations are signed and symmetric, only what enters an operator is quantised and biases stay in
            float, as TensorRT wants it; otherwise activations are unsigned, as x86 multiplies them fastest.
    """
    options: dict[str, Any] = {}
    if signed:
        float_outputs = sorted({node.op_type for node in model.graph.node})
        options = {"ActivationSymmetric": True, "QuantizeBias": False}
    if float_outputs:
        options["OpTypesToExcludeOutputQuantization"] = list(float_outputs)
    if ranges:
        options["TensorQuantOverrides"] = {
            name: [{"rmin": np.array(low, np.float32), "rmax": np.array(high, np.float32)}]
            for name, (low, high) in ranges.items()
        }
    with tempfile.TemporaryDirectory() as folder:
        source, target = Path(folder) / "float.onnx", Path(folder) / "int8.onnx"
        onnx.save(model, source)
        level = logging.root.level
        logging.root.setLevel(logging.ERROR)  # it recommends a pre-processing that these models do not need
        try:
            quantize_static(
                source,
                target,
                _Reader(inputs),
                quant_format=QuantFormat.QDQ,
                per_channel=True,
                activation_type=QuantType.QInt8 if signed else QuantType.QUInt8,
                weight_type=QuantType.QInt8,
                op_types_to_quantize=list(operators) if operators else None,
                nodes_to_exclude=list(exclude),
                extra_options=options,
            )
        finally:
            logging.root.setLevel(level)
        return onnx.load(target)


class _Reader(CalibrationDataReader):
    """Gives each input once."""

    def __init__(self, inputs: Iterable[dict[str, np.ndarray]]) -> None:
        self._inputs = iter(inputs)

    def get_next(self) -> dict[str, np.ndarray] | None:  # type: ignore[override]
        return next(self._inputs, None)
