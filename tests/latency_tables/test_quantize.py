"""8-bit models: weights and activations really are 8 bits wide, and the answers stay close."""

from __future__ import annotations

import logging

import numpy as np
import onnx
import pytest
from fairnas.latency_tables import HostDevice, block_model, network_model
from fairnas.latency_tables.measuring import TOLERANCE, relative_difference
from fairnas.latency_tables.runtimes.quantize import quantized
from fairnas.models import Block, get_space
from onnx import TensorProto

SPACE = get_space("b").scaled(0.25)
BLOCKS = [
    Block("conv", 3, 8, 16, 2, 3),
    Block("mbconv", 8, 8, 16, 1, 5, 3),
    Block("mbconv", 8, 16, 16, 2, 3, 6, se_ratio=0.5, activation="swish"),
    Block("classifier", 16, 10, 8, activation="none"),
]


@pytest.mark.parametrize("block", BLOCKS, ids=lambda block: block.signature)
def test_weights_and_activations_have_8_bits(block: Block) -> None:
    model = quantized(block_model(block))
    onnx.checker.check_model(model)
    operators = [node.op_type for node in model.graph.node]
    assert {"QuantizeLinear", "DequantizeLinear"} <= set(operators)
    types = {tensor.name: tensor.data_type for tensor in model.graph.initializer}
    weights = [name for name in types if ".weight" in name or name.endswith("weight_quantized")]
    assert weights
    for node in model.graph.node:
        if node.op_type in ("Conv", "Gemm"):
            (source,) = [other for other in model.graph.node if node.input[1] in other.output]
            assert source.op_type == "DequantizeLinear"
            assert types[source.input[0]] == TensorProto.INT8
            scale = next(tensor for tensor in model.graph.initializer if tensor.name == source.input[1])
            assert np.prod(scale.dims) > 1  # one per channel
    assert [value.type.tensor_type.elem_type for value in model.graph.input] == [TensorProto.FLOAT]


def test_a_networks_answers_stay_close() -> None:
    model = network_model(SPACE.blocks(SPACE.uniform("E3K3"), 32, 10))
    models = {"fp32": model.SerializeToString(), "int8": quantized(model).SerializeToString()}
    assert len(models["int8"]) < 0.5 * len(models["fp32"])
    outputs = HostDevice().outputs(models)
    # Two devices round differently by far less than rounding itself costs.
    assert TOLERANCE["fp32"] < relative_difference(outputs["int8"], outputs["fp32"]) < 0.5


def test_quantising_the_same_model_twice_gives_the_same_model() -> None:
    """Journals know a model by its bytes."""
    first, second = (quantized(block_model(BLOCKS[1])).SerializeToString() for _ in range(2))
    assert first == second


def test_nothing_is_printed_and_logging_is_left_as_it_was(capfd: pytest.CaptureFixture[str]) -> None:
    level = logging.root.level
    quantized(block_model(BLOCKS[0]))
    assert logging.root.level == level
    captured = capfd.readouterr()
    assert captured.out == captured.err == ""
