"""ONNX in half precision: weights and everything inside in float16, images and logits in float32."""

from __future__ import annotations

import warnings

import numpy as np
import onnx

from ...latency_tables.runtimes.onnxruntime import onnxruntime as _onnxruntime  # noqa: F401  (first: it switches the collector off)
from ..deployable import Exported
from ..parity import onnx_logits
from .graph import constants, loaded

FILE = "model.fp16.onnx"


def to_fp16(float_model: bytes) -> Exported:
    """Convert a network.

    Args:
        float_model: ONNX, float32.

    Returns:
        The format `onnx-fp16`: metadata, names, input and output are the float model's.

    Raises:
        ExportError: the model cannot be read.
    """
    from onnxruntime.transformers.float16 import convert_float_to_float16
    from onnxruntime.transformers.onnx_model import OnnxModel

    original = loaded(float_model)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of weights that are too small or too large: our facts count them
        model = convert_float_to_float16(onnx.ModelProto.FromString(float_model), keep_io_types=True)
    OnnxModel(model).topological_sort()  # the conversions of input and output were put at the end
    onnx.checker.check_model(model, full_check=True)
    content = model.SerializeToString(deterministic=True)
    weights = [value for value in constants(original).values() if value.dtype == np.float32]
    limits = np.finfo(np.float16)
    facts = {
        "weights": sum(value.size for value in weights),
        "weights_that_lose_digits": sum(_count((value != 0) & (abs(value) < limits.tiny)) for value in weights),
        "weights_cut_off": sum(_count(abs(value) > limits.max) for value in weights),
    }
    return Exported("onnx-fp16", {FILE: content}, onnx_logits(content), facts=facts)


def _count(mask: np.ndarray) -> int:
    return int(np.count_nonzero(mask))
