"""The 8-bit form of a block or a network, as a deployed one would have it."""

from __future__ import annotations

import logging
import tempfile
from pathlib import Path

import numpy as np
import onnx

from .probe import probe_input
from .runtime import onnxruntime as _onnxruntime  # noqa: F401  (first: it switches the collector off)

from onnxruntime.quantization import (  # isort: skip
    CalibrationDataReader,
    QuantFormat,
    QuantType,
    quantize_static,
)


def quantized(model: onnx.ModelProto) -> onnx.ModelProto:
    """Static quantisation in the QDQ form: weights signed per channel, activations unsigned per tensor.

    Ranges come from the probe input, since what is timed has no meaning and its speed does not depend on it.
    """
    with tempfile.TemporaryDirectory() as folder:
        source, target = Path(folder) / "float.onnx", Path(folder) / "int8.onnx"
        onnx.save(model, source)
        level = logging.root.level
        logging.root.setLevel(logging.ERROR)  # it recommends a pre-processing that these models do not need
        try:
            quantize_static(
                source,
                target,
                _ProbeReader(model),
                quant_format=QuantFormat.QDQ,
                per_channel=True,
                activation_type=QuantType.QUInt8,
                weight_type=QuantType.QInt8,
            )
        finally:
            logging.root.setLevel(level)
        return onnx.load(target)


class _ProbeReader(CalibrationDataReader):
    """Gives each input's probe once."""

    def __init__(self, model: onnx.ModelProto) -> None:
        self._inputs: list[dict[str, np.ndarray]] = [
            {
                value.name: probe_input(tuple(size.dim_value for size in value.type.tensor_type.shape.dim))
                for value in model.graph.input
            }
        ]

    def get_next(self) -> dict[str, np.ndarray] | None:  # type: ignore[override]
        return self._inputs.pop() if self._inputs else None
