"""A fault that is put into one layer is found in that layer, and where there is none, nothing is found."""

from __future__ import annotations

import copy
import math

import numpy as np
import onnx
import pytest
import timm
import torch
from fairnas.exporters.divergence import WORST, first_divergence, first_divergence_from_torch, layer_errors
from fairnas.exporters.onnx.export import traced
from fairnas.exporters.onnx.fp16 import FILE, to_fp16
from torch import nn

from tests.exporters.quantised_networks import exported_network, images

# Folded batch norms, ReLU6, Swish and hard-Swish with SE, blocks that add, a member of a sequence within a sequence.
NETWORKS = ["fairnas_c", "fairnas_c_se", "mobilenetv3_small_050", "resnet18"]


def convolutions(model: onnx.ModelProto) -> list[onnx.NodeProto]:
    return [node for node in model.graph.node if node.op_type == "Conv"]


def spoilt(content: bytes, place: int, factor: float = 3.0) -> tuple[onnx.ModelProto, str]:
    """The model with one channel of a convolution scaled, and the convolution's name."""
    model = onnx.load_from_string(content)
    node = convolutions(model)[place]
    (weight,) = (tensor for tensor in model.graph.initializer if tensor.name == node.input[1])
    values = onnx.numpy_helper.to_array(weight).copy()
    values[0] *= factor
    weight.CopyFrom(onnx.numpy_helper.from_array(values, weight.name))
    return model, node.name


@pytest.mark.parametrize("name", NETWORKS)
def test_a_faithful_export_has_none(name: str) -> None:
    network, content = exported_network(name)
    assert first_divergence_from_torch(network, content, images(6), 1e-4) is None
    assert first_divergence(content, content, images(6), 0.0) is None


@pytest.mark.parametrize("name", NETWORKS)
@pytest.mark.parametrize("share", [0.0, 0.3, 0.7])
def test_the_spoilt_layer_is_named(name: str, share: float) -> None:
    network, content = exported_network(name)
    place = int(share * len(convolutions(onnx.load_from_string(content))))
    model, layer = spoilt(content, place)
    by_onnx = first_divergence(content, model, images(6), 1e-4)
    by_torch = first_divergence_from_torch(network, model.SerializeToString(), images(6), 1e-4)
    assert by_onnx is not None
    assert by_torch is not None
    assert by_onnx.layer == by_torch.layer == layer
    assert by_onnx.error > by_onnx.tolerance == 1e-4
    assert 1 <= len(by_onnx.worst) <= WORST
    assert by_onnx.worst[0].error >= by_onnx.error
    assert [each.error for each in by_onnx.worst] == sorted((each.error for each in by_onnx.worst), reverse=True)


def test_the_spoilt_layer_is_named_in_half_precision_too() -> None:
    _, content = exported_network("mobilenetv3_small_050")
    model, layer = spoilt(content, 20)
    found = first_divergence(content, to_fp16(model.SerializeToString()).files[FILE], images(), 0.03)
    assert found is not None
    assert found.layer == layer
    assert first_divergence(content, to_fp16(content).files[FILE], images(), 0.03) is None


def test_the_error_is_relative_to_the_references_root_mean_square() -> None:
    network = nn.Sequential(nn.Conv2d(3, 4, 1, bias=False), nn.Conv2d(4, 2, 1, bias=False), nn.Flatten())
    content = exported_network("two_convolutions", network)[1]
    model = onnx.load_from_string(content)
    node = convolutions(model)[1]
    (weight,) = (tensor for tensor in model.graph.initializer if tensor.name == node.input[1])
    values = onnx.numpy_helper.to_array(weight) * np.float32(1.25)
    weight.CopyFrom(onnx.numpy_helper.from_array(values, weight.name))
    errors = {each.layer: each.error for each in layer_errors(content, model, images())}
    first, second = (convolution.name for convolution in convolutions(model))
    assert errors[first] == 0
    assert errors[second] == pytest.approx(0.25, rel=1e-5)


def test_what_is_no_number_diverges_and_is_worst() -> None:
    network, content = exported_network("fairnas_c")
    model, layer = spoilt(content, 5, math.nan)
    for found in (
        first_divergence(content, model, images(), 1e9),
        first_divergence_from_torch(network, model.SerializeToString(), images(), 1e9),
    ):
        assert found is not None
        assert found.layer == layer
        assert math.isnan(found.worst[0].error)


def test_modules_that_see_an_image_as_several_patches_raise_no_false_alarm() -> None:
    torch.manual_seed(0)
    network = timm.create_model("mobilevit_xxs", num_classes=3).eval()
    content = traced(network, (1, 3, 64, 64)).SerializeToString()
    assert first_divergence_from_torch(network, content, torch.randn(6, 3, 64, 64), 1e-3) is None


def test_another_network_diverges_in_its_first_layer() -> None:
    network, content = exported_network("fairnas_c")
    other = copy.deepcopy(network)
    with torch.no_grad():
        for parameter in other.parameters():
            parameter.mul_(1.1)
    found = first_divergence_from_torch(other, content, images(), 1e-3)
    assert found is not None
    assert found.layer == "/conv_stem/Conv"


def test_modules_that_are_used_twice_and_odd_orders_raise_no_false_alarm() -> None:
    class Odd(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.shared = nn.ReLU(inplace=True)
            self.first, self.second = nn.Conv2d(3, 8, 3), nn.Conv2d(8, 8, 3)
            self.between = nn.BatchNorm2d(8)  # after the activation, so that no convolution takes it in

        def forward(self, value: torch.Tensor) -> torch.Tensor:
            value = self.between(self.shared(self.first(value)))
            return self.shared(self.second(value)).mean((2, 3)) + 1

    network = Odd()
    assert network.between.running_mean is not None
    network.between.running_mean.normal_()
    content = exported_network("odd", network.eval())[1]
    assert first_divergence_from_torch(network, content, images(), 1e-5) is None
