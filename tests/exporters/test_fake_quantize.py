"""The simulated int8 form: exact on what int8 holds, and the same answers as the exporter's quantised file."""

from __future__ import annotations

from collections import Counter
from typing import Any

import onnx
import pytest
import torch
from fairnas.exporters import onnx_logits
from fairnas.exporters.fake_quantize import FakeQuantizedWeight, fake_quantized, restore, set_quantizing, take_ranges
from fairnas.models.folding import folded
from torch import fx, nn
from torch.ao.quantization import FakeQuantize
from torch.nn.utils import parametrize

from . import int8_arithmetic
from .small_mobile import HARD_SWISH, PLAIN, SWISH, int8_file, settled, small_mobile

IMAGES = torch.randn(32, 3, 32, 32, generator=torch.Generator().manual_seed(0))


def calibrated(blocks: str) -> tuple[nn.Module, fx.GraphModule]:
    """A folded network and its simulation, ready to quantise with the ranges of `IMAGES`."""
    torch.manual_seed(0)
    network = folded(settled(small_mobile(blocks), IMAGES))
    simulated = fake_quantized(network)
    take_ranges(simulated, [IMAGES])
    return network, simulated


def test_a_weight_that_int8_can_hold_is_left_as_it_is() -> None:
    scale = torch.tensor([0.5, 2.0**-9]).view(2, 1, 1, 1)  # powers of two: exact in float
    steps = torch.arange(-127, 128).float()
    weight = scale * torch.stack([steps, steps.flip(0)]).view(2, 255, 1, 1)
    rounded = FakeQuantizedWeight(weight)
    assert torch.equal(rounded(rounded.right_inverse(weight)), weight)
    moved = weight + 0.3 * scale * (weight.abs() < 126 * scale)
    assert torch.equal(rounded(rounded.right_inverse(moved)), weight)
    rounded.enabled = False
    assert torch.equal(rounded(rounded.right_inverse(moved)), moved)
    nothing = torch.zeros(2, 3)
    assert torch.equal(FakeQuantizedWeight(nothing)(nothing), nothing)


def scales(content: bytes) -> Counter[tuple[float, int]]:
    """Scale and zero point of every tensor that a file quantises; a flattened one counts as the one before."""
    model = onnx.load_from_string(content)
    values = {tensor.name: onnx.numpy_helper.to_array(tensor) for tensor in model.graph.initializer}
    nodes = [node for node in model.graph.node if node.op_type == "QuantizeLinear" and "Flatten" not in node.input[0]]
    return Counter((rounded(values[node.input[1]]), int(values[node.input[2]])) for node in nodes)


def rounded(scale: Any) -> float:
    return float(f"{float(scale):.4g}")


@pytest.mark.parametrize("blocks", [PLAIN, SWISH, HARD_SWISH])
def test_the_file_rounds_what_the_simulation_rounds(blocks: str) -> None:
    network, simulated = calibrated(blocks)
    with torch.inference_mode():
        answered = simulated(IMAGES)
        restore(network)
        plain = network(IMAGES)
    content = int8_file(network, IMAGES, plain.argmax(1))
    activations = {name: module for name, module in simulated.named_modules() if isinstance(module, FakeQuantize)}
    mine = [
        (node.all_input_nodes[0].name, (rounded(activation.scale), int(activation.zero_point)))
        for node in simulated.graph.nodes
        if (activation := activations.get(str(node.target)))
    ]
    # A hard sigmoid and what enters it get ranges of their own in the file, for speed.
    hard = [place for name, place in mine if name.startswith(("clamp_min", "hardsigmoid"))]
    assert len(hard) == (18 if blocks == HARD_SWISH else 0)
    other = Counter(place for name, place in mine) - Counter(hard)
    assert other
    assert not other - scales(content)
    if not hard:
        assert other == scales(content)
        lost = (onnx_logits(content)(IMAGES) - plain).square().mean().sqrt()
        missed = (onnx_logits(content)(IMAGES) - answered).square().mean().sqrt()
        if not int8_arithmetic.is_exact():
            pytest.skip(int8_arithmetic.WHY)
        print(f"int8 moves logits by {lost:.4f}, the simulation is {missed:.4f} off")
        assert missed < 0.8 * lost  # rounding errors that tip the other way add up


def test_gradients_reach_every_weight_and_the_network_comes_back() -> None:
    network, simulated = calibrated(HARD_SWISH)
    names = folded(small_mobile(HARD_SWISH)).state_dict().keys()
    simulated(IMAGES).square().sum().backward()
    without = [name for name, weight in simulated.named_parameters() if weight.grad is None or not weight.grad.any()]
    assert not without
    # Trained, and out of what int8 could hold.
    with torch.no_grad():
        trained = network.get_parameter("conv_stem.parametrizations.weight.original").mul_(0.7).clone()
    expected = trained * network.get_buffer("conv_stem.parametrizations.weight.0.unit")
    restore(network)
    assert network.state_dict().keys() == names
    assert not any(parametrize.is_parametrized(module) for module in network.modules())
    assert torch.equal(network.get_parameter("conv_stem.weight"), expected)


def test_excluded_layers_stay_in_float() -> None:
    def squeeze_excite(name: str) -> bool:
        return ".se" in name

    network = folded(small_mobile(SWISH))
    everywhere = len(list(fake_quantized(network).named_modules()))
    restore(network)
    simulated = fake_quantized(network, squeeze_excite)
    assert len(list(simulated.named_modules())) < everywhere
    quantised = {name for name, module in network.named_modules() if parametrize.is_parametrized(module)}
    weighted = {name for name, module in network.named_modules() if isinstance(module, nn.Conv2d | nn.Linear)}
    assert weighted - quantised == {name for name in weighted if squeeze_excite(name)} != set()


def test_without_quantisation_it_is_the_network() -> None:
    network, simulated = calibrated(HARD_SWISH)
    set_quantizing(simulated, False)
    with torch.inference_mode():
        plain = simulated(IMAGES)
        restore(network)
        torch.testing.assert_close(plain, network(IMAGES), atol=1e-5, rtol=1e-5)
