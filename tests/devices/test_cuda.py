"""An NVIDIA GPU: what can be known without one, and everything else where there is one."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import onnx
import pytest
import torch
from fairnas.latency_tables import HostDevice, LatencyError, block_model, network_model
from fairnas.latency_tables.device import Device
from fairnas.latency_tables.devices.cuda.device import CudaDevice
from fairnas.latency_tables.devices.cuda.onnx_in_torch import OnnxInTorch
from fairnas.latency_tables.probe import probe_input, probe_values
from fairnas.models import Block, get_space
from onnx import TensorProto, helper

from .contract import CONTRACT, sentence

BLOCKS = (
    Block("conv", 3, 16, 32, 2, 3),
    Block("conv", 8, 24, 7, activation="relu"),
    Block("sepconv", 16, 8, 16, 1, 3),
    Block("mbconv", 16, 16, 16, 1, 5, 3),
    Block("mbconv", 16, 24, 15, 2, 7, 6),
    Block("mbconv", 16, 16, 16, 1, 5, 3, se_ratio=0.25, activation="swish"),
    Block("mbconv", 16, 16, 16, 1, 5, 3, se_ratio=0.25, activation="hswish"),
    Block("classifier", 16, 10, 16, activation="none"),
)


def in_torch(content: bytes) -> np.ndarray:
    module = OnnxInTorch("model", content)
    with torch.inference_mode():
        return probe_values(module(torch.from_numpy(probe_input(module.input_shape))).numpy())


def one_node(operator: str, shapes: list[list[int]], output: list[int], **attributes: Any) -> bytes:
    """A model of one operator whose inputs after the first are initialisers."""
    values = [
        onnx.numpy_helper.from_array(probe_input(tuple(shape)), f"c{place}") for place, shape in enumerate(shapes[1:])
    ]
    node = helper.make_node(operator, ["x", *(value.name for value in values)], ["y"], **attributes)
    inputs = [helper.make_tensor_value_info("x", TensorProto.FLOAT, shapes[0])]
    outputs = [helper.make_tensor_value_info("y", TensorProto.FLOAT, output)]
    graph = helper.make_graph([node], "one", inputs, outputs, values)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=9).SerializeToString()


@pytest.mark.parametrize("block", BLOCKS, ids=lambda block: block.signature)
def test_a_block_gives_in_pytorch_what_it_gives_in_onnx_runtime(block: Block) -> None:
    content = block_model(block).SerializeToString()
    expected = HostDevice().outputs({"model": content})["model"]
    np.testing.assert_allclose(in_torch(content), expected, rtol=1e-4, atol=1e-5 * float(np.abs(expected).max()))


def test_a_whole_network_gives_in_pytorch_what_it_gives_in_onnx_runtime() -> None:
    space = get_space("b").scaled(0.5)
    content = network_model(space.blocks(space.uniform("E3K5"), 64, 10)).SerializeToString()
    expected = HostDevice().outputs({"model": content})["model"]
    np.testing.assert_allclose(in_torch(content), expected, rtol=1e-3, atol=1e-4 * float(np.abs(expected).max()))


@pytest.mark.parametrize(
    "content",
    [
        one_node("Gemm", [[3, 2], [4, 3], [4]], [2, 4], transA=1, transB=1, alpha=0.5, beta=2.0),
        one_node("Gemm", [[2, 3], [3, 4]], [2, 4]),
        one_node(
            "Conv", [[1, 4, 9, 9], [6, 2, 3, 3]], [1, 6, 4, 4], group=2, dilations=[2, 2], strides=[2, 2], pads=[1] * 4
        ),
        one_node("Flatten", [[2, 3, 4]], [6, 4], axis=2),
        one_node("Clip", [[2, 3], []], [2, 3]),
    ],
    ids=["gemm transposed and scaled", "gemm without bias", "conv dilated", "flatten at 2", "clip from below only"],
)
def test_every_attribute_of_an_operator_counts(content: bytes) -> None:
    np.testing.assert_allclose(in_torch(content), HostDevice().outputs({"model": content})["model"], atol=1e-6)


@pytest.mark.parametrize(
    ("content", "why"),
    [
        (one_node("Tanh", [[2, 3]], [2, 3]), "Tanh 'y' cannot be run in PyTorch here"),
        (one_node("Conv", [[1, 1, 4, 4], [1, 1, 3, 3]], [1, 1, 3, 3], pads=[0, 0, 1, 1]), "its padding"),
        (one_node("Conv", [[1, 1, 4], [1, 1, 3]], [1, 1, 2]), "not for images"),
        (b"nonsense", "is no ONNX model"),
    ],
)
def test_what_pytorch_cannot_run_is_refused_in_one_line(content: bytes, why: str) -> None:
    with pytest.raises(LatencyError, match=why) as refusal:
        OnnxInTorch("my model", content)
    assert str(refusal.value).startswith("my model")
    assert "\n" not in str(refusal.value)


@pytest.mark.parametrize(
    ("arguments", "why"),
    [({"engine": "abacus"}, "unknown engine 'abacus'.*choose from auto"), ({"index": -1}, "counted from 0")],
)
def test_arguments_that_make_no_sense_are_refused(arguments: dict[str, object], why: str) -> None:
    with pytest.raises(LatencyError, match=why):
        CudaDevice(**arguments)  # pyright: ignore[reportArgumentType]


def test_a_gpu_that_is_not_there_is_refused_in_one_line() -> None:
    with pytest.raises(LatencyError, match=r"no NVIDIA GPU 99 here|built without CUDA") as refusal:
        CudaDevice(99).prepare()
    assert "\n" not in str(refusal.value)


def test_nothing_works_before_prepare_and_closing_is_always_allowed() -> None:
    device = CudaDevice()
    for attempt in (
        device.fingerprint,
        device.conditions,
        lambda: device.outputs({"model": b""}),
        lambda: list(device.measure({"model": b""}, range(1))),
    ):
        with pytest.raises(LatencyError, match="prepare"):
            attempt()
    device.close()
    device.close()


@pytest.fixture(scope="module")
def gpu() -> Iterator[CudaDevice]:
    if not torch.cuda.is_available():
        pytest.skip("there is no NVIDIA GPU here")
    device = CudaDevice(engine="torch")
    device.prepare()
    yield device
    device.close()


@pytest.mark.parametrize("promise", CONTRACT, ids=sentence)
def test_a_gpu(gpu: CudaDevice, promise: Callable[[Device], None]) -> None:
    gpu.prepare()
    promise(gpu)
