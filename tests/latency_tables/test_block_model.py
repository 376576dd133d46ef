"""The ONNX form of a block computes what the torch block of the same network computes."""

from __future__ import annotations

from collections import Counter

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from fairnas.latency_tables import block_model, network_model
from fairnas.models import PUBLISHED, Block, build_network, get_space
from onnx import numpy_helper
from torch import nn

# Names of our parts, and of timm's convolutions and batch norms, per kind of block.
_PARTS = {
    "mbconv": [("expand", "conv_pw", "bn1"), ("depthwise", "conv_dw", "bn2"), ("project", "conv_pwl", "bn3")],
    "sepconv": [("depthwise", "conv_dw", "bn1"), ("project", "conv_pw", "bn2")],
}


def _network(se_ratio: float, hard_swish: bool = False):
    torch.manual_seed(0)
    space = get_space("b")
    architecture = space.architecture([layer % 6 for layer in range(19)], se_ratio)
    architecture = architecture.with_hard_swish() if hard_swish else architecture
    network = build_network(architecture, num_classes=10).eval()
    for module in network.modules():
        if isinstance(module, nn.BatchNorm2d):
            assert module.running_mean is not None
            assert module.running_var is not None
            module.running_mean.normal_(0, 0.5)
            module.running_var.uniform_(0.5, 2)
            nn.init.uniform_(module.weight, 0.5, 1.5)
            nn.init.normal_(module.bias, 0, 0.5)
    return network, space.blocks(architecture, 64, num_classes=10)


def _modules(network, blocks: tuple[Block, ...]) -> list[nn.Module]:
    stem = nn.Sequential(network.conv_stem, network.bn1)
    head = nn.Sequential(network.conv_head, network.bn2)
    classifier = nn.Sequential(network.global_pool, network.classifier)
    modules = [stem, *(block for stage in network.blocks for block in stage), head, classifier]
    assert len(modules) == len(blocks)
    return modules


def _fold(conv: nn.Conv2d, norm: nn.BatchNorm2d) -> tuple[torch.Tensor, torch.Tensor]:
    assert norm.running_mean is not None
    assert norm.running_var is not None
    scale = norm.weight / torch.sqrt(norm.running_var + norm.eps)
    return conv.weight * scale[:, None, None, None], norm.bias - norm.running_mean * scale


def _weights(module, block: Block) -> dict[str, torch.Tensor]:
    if block.kind == "classifier":
        return {"classifier.weight": module[1].weight, "classifier.bias": module[1].bias}
    if block.kind == "conv":
        weight, bias = _fold(module[0], module[1])
        return {"conv.weight": weight, "conv.bias": bias}
    weights: dict[str, torch.Tensor] = {}
    for part, conv, norm in _PARTS[block.kind]:
        weights[f"{part}.weight"], weights[f"{part}.bias"] = _fold(getattr(module, conv), getattr(module, norm))
    if block.se_ratio:
        for part, conv in (("squeeze", module.se.conv_reduce), ("excite", module.se.conv_expand)):
            weights[f"{part}.weight"], weights[f"{part}.bias"] = conv.weight, conv.bias
    return weights


def _with_weights(model: onnx.ModelProto, weights: dict[str, torch.Tensor]) -> bytes:
    stored = {tensor.name: tensor for tensor in model.graph.initializer}
    assert set(weights) == {name for name in stored if name.endswith((".weight", ".bias"))}
    for name, value in weights.items():
        assert tuple(stored[name].dims) == tuple(value.shape), name
        stored[name].CopyFrom(numpy_helper.from_array(value.detach().numpy(), name))
    return model.SerializeToString()


def _run(model: bytes, images: np.ndarray) -> np.ndarray:
    return np.asarray(onnxruntime.InferenceSession(model).run(None, {"input": images})[0])


@pytest.mark.parametrize(("se_ratio", "swish"), [(0.0, None), (0.5, "swish"), (1.0, "swish"), (1.0, "hswish")])
def test_every_block_of_a_network_equals_its_torch_block(se_ratio: float, swish: str | None) -> None:
    network, blocks = _network(se_ratio, swish == "hswish")
    assert {b.activation for b in blocks} == ({"relu", swish, "none"} if se_ratio else {"relu6", "none"})
    for module, block in zip(_modules(network, blocks), blocks, strict=True):
        model = block_model(block)
        onnx.checker.check_model(model, full_check=True)
        # Twice the usual spread, so that relu6 cuts at both ends.
        images = 2 * torch.randn(1, block.in_channels, block.resolution, block.resolution)
        with torch.no_grad():
            expected = module(images).numpy()
        actual = _run(_with_weights(model, _weights(module, block)), images.numpy())
        assert actual.shape == expected.shape
        np.testing.assert_allclose(actual, expected, rtol=1e-4, atol=1e-4 * np.abs(expected).max())


@pytest.mark.parametrize("se_ratio", [0.0, 1.0])
def test_the_chain_of_blocks_equals_the_torch_network(se_ratio: float) -> None:
    network, blocks = _network(se_ratio)
    model = network_model(blocks)
    onnx.checker.check_model(model, full_check=True)
    alone = (_operators(block_model(block)) for block in blocks)
    assert _operators(model) == sum(alone, Counter())
    weights: dict[str, torch.Tensor] = {}
    for place, (module, block) in enumerate(zip(_modules(network, blocks), blocks, strict=True)):
        weights |= {f"{place}.{name}": value for name, value in _weights(module, block).items()}
    images = torch.randn(1, 3, 64, 64)
    with torch.no_grad():
        expected = network(images).numpy()
    actual = _run(_with_weights(model, weights), images.numpy())
    np.testing.assert_allclose(actual, expected, rtol=1e-3, atol=1e-4 * np.abs(expected).max())


def test_activations_stay_alive_through_a_whole_network() -> None:
    images = np.random.default_rng(1).standard_normal((1, 3, 64, 64), dtype=np.float32)
    for name in ("fairnas_a", "fairnas_a_se", "fairnas_a_se_hswish"):
        blocks = get_space("b").blocks(PUBLISHED[name], 64, num_classes=10)
        output = _run(network_model(blocks).SerializeToString(), images)
        assert output.shape == (1, 10)
        assert 1e-3 < output.std() < 1e3


def _operators(model: onnx.ModelProto) -> Counter[str]:
    return Counter(node.op_type for node in model.graph.node)


def test_the_same_block_gives_the_same_bytes_and_activations_stay_alive() -> None:
    block = Block("mbconv", 24, 40, 14, stride=2, kernel=5, expansion=6)
    assert block_model(block).SerializeToString() == block_model(block).SerializeToString()
    images = np.random.default_rng(1).standard_normal((1, 24, 14, 14), dtype=np.float32)
    output = _run(block_model(block).SerializeToString(), images)
    assert output.shape == (1, 40, 7, 7)
    assert 0.1 < output.std() < 10


def test_the_model_holds_exactly_the_parameters_of_the_block() -> None:
    # A folded convolution has one bias where batch norm had two affine values per channel.
    for block in (*get_space("b").all_blocks(32), Block("mbconv", 16, 16, 8, 1, 3, 6, 0.5, "swish")):
        initializers = {t.name: numpy_helper.to_array(t) for t in block_model(block).graph.initializer}
        biases = sum(v.size for k, v in initializers.items() if k.endswith(".bias") and _had_norm(k))
        weights = sum(v.size for k, v in initializers.items() if k.endswith((".weight", ".bias")))
        assert weights + biases == block.cost.params, block.signature


def _had_norm(name: str) -> bool:
    return not name.startswith(("squeeze", "excite", "classifier"))
