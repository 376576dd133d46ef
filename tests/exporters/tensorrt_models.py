"""ONNX files for TensorRT: networks in every precision, and a convolution quantised in ways that it does not take."""

from __future__ import annotations

import logging
import tempfile
from pathlib import Path

import numpy as np
import onnx
import torch
from fairnas.exporters import traced
from fairnas.latency_tables.runtimes.onnxruntime import onnxruntime as onnxruntime
from fairnas.models import Architecture, build_network
from onnx import TensorProto, helper, numpy_helper
from onnxruntime.quantization import CalibrationDataReader, QuantFormat, QuantType, quantize_static
from onnxruntime.transformers.float16 import convert_float_to_float16
from torch import nn


def onnx_network(architecture: Architecture, precision: str, resolution: int, classes: int = 10) -> bytes:
    """A network of random weights, and of statistics that let no two biases be the same."""
    generator = torch.Generator().manual_seed(0)
    torch.manual_seed(0)
    network = build_network(architecture, num_classes=classes).eval()
    for module in network.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.running_mean.normal_(0, 0.1, generator=generator)  # pyright: ignore[reportOptionalMemberAccess]
            module.running_var.uniform_(0.5, 1.5, generator=generator)  # pyright: ignore[reportOptionalMemberAccess]
    model = traced(network, (1, 3, resolution, resolution))
    if precision == "fp16":
        model = convert_float_to_float16(model, keep_io_types=True)
    elif precision == "int8":
        model = _quantised(model, resolution)
    return model.SerializeToString()


def small_network(nodes: list[onnx.NodeProto], *constants: TensorProto, size: int | str = "batch") -> bytes:
    """A model from `images` `[size, 3, 16, 16]` to `logits` `[size, 8]`."""
    graph = helper.make_graph(
        nodes,
        "small",
        [helper.make_tensor_value_info("images", TensorProto.FLOAT, [size, 3, 16, 16])],
        [helper.make_tensor_value_info("logits", TensorProto.FLOAT, [size, 8])],
        list(constants),
    )
    opsets = [helper.make_opsetid("", 18), helper.make_opsetid("own", 1)]
    return helper.make_model(graph, opset_imports=opsets, ir_version=9).SerializeToString()


def quantised_convolution(dtype: type = np.int8, zero_point: int | None = 0, bias: bool = False) -> bytes:
    """A convolution of quantised images; weights are signed and symmetric."""
    weights = np.random.default_rng(0).integers(-127, 128, (8, 3, 3, 3)).astype(np.int8)
    constants = [
        numpy_helper.from_array(np.array(0.1, np.float32), "scale"),
        numpy_helper.from_array(weights, "weights"),
        numpy_helper.from_array(np.arange(8, dtype=np.int32), "bias"),
    ]
    images, filters, offsets = ["scale"], ["weights", "scale"], ["bias", "scale"]
    if zero_point is not None:
        constants.append(numpy_helper.from_array(np.array(zero_point, dtype), "zero"))
        images.append("zero")
    nodes = [
        helper.make_node("QuantizeLinear", ["images", *images], ["q"], name="quantise"),
        helper.make_node("DequantizeLinear", ["q", *images], ["x"], name="dequantise"),
        helper.make_node("DequantizeLinear", filters, ["w"], name="filters"),
        helper.make_node("DequantizeLinear", offsets, ["b"], name="offsets"),
        helper.make_node("Conv", ["x", "w", "b"] if bias else ["x", "w"], ["y"], name="conv", kernel_shape=[3, 3]),
        helper.make_node("GlobalAveragePool", ["y"], ["pooled"]),
        helper.make_node("Flatten", ["pooled"], ["logits"]),
    ]
    return small_network([node for node in nodes if bias or node.name != "offsets"], *constants)


def _quantised(model: onnx.ModelProto, resolution: int) -> onnx.ModelProto:
    with tempfile.TemporaryDirectory() as folder:
        source, target = Path(folder) / "float.onnx", Path(folder) / "int8.onnx"
        onnx.save(model, source)
        logging.disable(logging.WARNING)  # it recommends a pre-processing that these models do not need
        try:
            quantize_static(
                source,
                target,
                _Once(resolution),
                quant_format=QuantFormat.QDQ,
                per_channel=True,
                activation_type=QuantType.QInt8,
                weight_type=QuantType.QInt8,
                extra_options={"ActivationSymmetric": True, "QuantizeBias": False},
            )
        finally:
            logging.disable(logging.NOTSET)
        return onnx.load(target)


class _Once(CalibrationDataReader):
    def __init__(self, resolution: int) -> None:
        images = np.random.default_rng(0).standard_normal((1, 3, resolution, resolution)).astype(np.float32)
        self._inputs = [{"images": images}]

    def get_next(self) -> dict[str, np.ndarray] | None:  # type: ignore[override]
        return self._inputs.pop() if self._inputs else None
