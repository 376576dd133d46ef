"""float16: half the size, float32 outside, the same answers, and the same names."""

from __future__ import annotations

import numpy as np
import onnx
import pytest
import timm
import torch
from fairnas.exporters import ExportError
from fairnas.exporters.divergence import layer_errors
from fairnas.exporters.onnx.fp16 import FILE, to_fp16
from onnx import TensorProto

from tests.exporters.quantised_networks import exported_network, images


@pytest.mark.parametrize("name", ["mobilenetv3_small_050", "resnet18"])
def test_half_the_size_and_the_same_answers(name: str) -> None:
    network, content = exported_network(name)
    exported = to_fp16(content)
    assert exported.format == "onnx-fp16"
    half = exported.files[FILE]
    assert len(half) < 0.55 * len(content)
    assert exported.run is not None
    expected, answered = network(images()), exported.run(images())
    assert answered.dtype == torch.float32
    relative = float((expected - answered).abs().max() / expected.abs().max())
    assert 0 < relative < 0.03  # float16 has 11 bits, float32 24: no difference would mean that nothing was converted


def test_input_output_and_metadata_are_kept() -> None:
    _, content = exported_network("fairnas_c")
    before, after = onnx.load_from_string(content), onnx.load_from_string(to_fp16(content).files[FILE])
    assert list(before.metadata_props) == list(after.metadata_props)
    for first, second in zip(
        (*before.graph.input, *before.graph.output), (*after.graph.input, *after.graph.output), strict=True
    ):
        assert first.name == second.name
        assert second.type.tensor_type.elem_type == TensorProto.FLOAT
        assert first.type.tensor_type.shape == second.type.tensor_type.shape
    kinds = {tensor.data_type for tensor in after.graph.initializer}
    assert TensorProto.FLOAT16 in kinds
    assert TensorProto.FLOAT not in kinds


def test_every_layer_can_be_compared() -> None:
    _, content = exported_network("mobilenetv3_small_050")
    errors = layer_errors(content, to_fp16(content).files[FILE], images())
    convolutions = [node.name for node in onnx.load_from_string(content).graph.node if node.op_type == "Conv"]
    assert set(convolutions) <= {each.layer for each in errors}
    assert 0 < max(each.error for each in errors) < 0.05


def test_facts_count_what_half_precision_cannot_hold() -> None:
    _, content = exported_network("fairnas_c")
    model = onnx.load_from_string(content)
    clean = to_fp16(content).facts
    assert clean["weights_cut_off"] == 0
    weight = max(model.graph.initializer, key=lambda tensor: len(tensor.raw_data))
    values = onnx.numpy_helper.to_array(weight).copy()
    values.ravel()[:3] = 1e6
    values.ravel()[3:5] = 1e-6
    weight.CopyFrom(onnx.numpy_helper.from_array(values, weight.name))
    facts = to_fp16(model.SerializeToString()).facts
    assert facts["weights_cut_off"] == 3
    assert facts["weights_that_lose_digits"] >= 2
    assert facts["weights"] == clean["weights"]


def test_the_same_weights_give_the_same_bytes() -> None:
    _, content = exported_network("fairnas_c")
    assert to_fp16(content).files == to_fp16(content).files


@pytest.mark.parametrize("content", [b"", b"no model"])
def test_what_is_no_model_is_refused_in_one_line(content: bytes) -> None:
    with pytest.raises(ExportError, match="ONNX") as caught:
        to_fp16(content)
    assert "\n" not in str(caught.value)


def test_timm_models_of_other_kinds() -> None:
    network = timm.create_model("vit_tiny_patch16_224", img_size=32, num_classes=10).eval()
    content = exported_network("vit_tiny_patch16_224", network)[1]
    run = to_fp16(content).run
    assert run is not None
    np.testing.assert_allclose(run(images()).numpy(), network(images()).detach().numpy(), atol=0.05)
