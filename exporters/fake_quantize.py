"""The int8 form, simulated in float: what quantisation-aware training sees of the deployed file (`onnx_int8`).

The file holds int8 weights, symmetric, with a scale for each output channel, and uint8 activations with one scale and
zero point for a tensor, wherever a tensor enters or leaves a convolution, a linear layer, a sum, a product, a sigmoid
or a pooling; but for what leaves a linear layer. A ReLU right after one of these is part of it. (Hard-)Swish is a
(hard) sigmoid and a product, and nothing below -3 is kept for the hard one.
"""

from __future__ import annotations

import operator
from collections.abc import Callable, Iterable
from typing import cast

import torch
from torch import Tensor, fx, nn
from torch.ao.quantization import FakeQuantize, MinMaxObserver
from torch.nn import functional
from torch.nn.utils import parametrize

from ..models.folding import WEIGHTED, operations

# As `torch.fx` names operations: types of modules, functions, and names of methods.
_QUANTISED = {
    *WEIGHTED,
    *(nn.AdaptiveAvgPool2d, nn.AvgPool2d, nn.MaxPool2d, torch.mean, "mean"),
    *(operator.add, operator.iadd, operator.mul, operator.imul, torch.add, torch.mul, torch.cat, "add", "mul"),
    *(nn.Sigmoid, torch.sigmoid, "sigmoid", functional.hardsigmoid),
}
_FUSED = {nn.ReLU, nn.ReLU6, nn.Hardtanh, functional.relu, functional.relu6, torch.relu, "relu", torch.clamp_min}
_SAME_NUMBERS = {nn.Identity, nn.Dropout, nn.Flatten, torch.flatten, "flatten", "view", "reshape", "contiguous"}
_SWISH = {nn.SiLU, functional.silu}
_HARD_SWISH = {nn.Hardswish, functional.hardswish}
_HARD_SIGMOID = {nn.Hardsigmoid, functional.hardsigmoid}
_INT8 = 127
_LEAST = 2.0**-23  # of a scale, as torch's observers have it


class FakeQuantizedWeight(nn.Module):
    """A parametrization: a weight `[O, ...]` as int8 would hold it; gradients pass as if it were not there.

    The scale of a channel maps its largest absolute value to 127. What is trained is the weight in units of its output
    and input channel, within about -1..1: folded batch norms leave channels of very different sizes, which no single
    learning rate suits. Units are powers of two, so that nothing is lost.

    Args:
        weight: the units are taken from it.
    """

    unit: Tensor

    def __init__(self, weight: Tensor) -> None:
        super().__init__()
        outputs = _power_of_two(weight, dim=0)
        self.register_buffer("unit", outputs * _power_of_two(weight / outputs, dim=1))
        self.enabled = True

    def forward(self, trained: Tensor) -> Tensor:
        """From units to the nearest weight that int8 can hold, or to the weight itself while not `enabled`."""
        weight = trained * self.unit
        if not self.enabled:
            return weight
        scale = (_largest(weight, dim=0).flatten() / _INT8).clamp_min(_LEAST)
        zero = torch.zeros_like(scale, dtype=torch.int32)
        return torch.fake_quantize_per_channel_affine(weight, scale, zero, 0, -_INT8, _INT8)

    def right_inverse(self, weight: Tensor) -> Tensor:
        """From a weight to units."""
        return weight / self.unit


def _largest(weight: Tensor, dim: int) -> Tensor:
    """The largest absolute value of each channel, of all others along other dimensions."""
    return weight.detach().abs().amax([other for other in range(weight.ndim) if other != dim], keepdim=True)


def _power_of_two(weight: Tensor, dim: int) -> Tensor:
    return torch.exp2(_largest(weight, dim).clamp_min(_LEAST).log2().ceil())


def fake_quantized(network: nn.Module, exclude: Callable[[str], bool] = lambda name: False) -> fx.GraphModule:
    """A network that computes as the int8 file of `network` will, and trains the weights of `network` itself.

    It computes as in evaluation mode. `take_ranges` comes first.

    Args:
        network: folded (`fairnas.models.folding`); its weights get a parametrization, which `restore` takes away.
        exclude: by the name of a layer, or of the module that adds or multiplies, whether it stays in float.

    Raises:
        ValueError: what the network computes depends on its input.
    """
    simulated = fx.GraphModule(network, operations(network.eval()))
    _spell_out_gates(simulated)
    quantised = [
        node for node in simulated.graph.nodes if _kind(simulated, node) in _QUANTISED and not exclude(_owner(node))
    ]
    for number, node in enumerate(_tensors(simulated, quantised)):
        name = f"quantized_{number}"
        simulated.add_submodule(name, _activation())
        with simulated.graph.inserting_after(node):
            replacement = simulated.graph.call_module(name, (node,))
        node.replace_all_uses_with(replacement, delete_user_cb=lambda user, own=replacement: user is not own)
    simulated.recompile()
    for node in quantised:
        if _kind(simulated, node) in WEIGHTED:
            layer = simulated.get_submodule(str(node.target))
            if not parametrize.is_parametrized(layer, "weight"):
                parametrize.register_parametrization(layer, "weight", FakeQuantizedWeight(cast(Tensor, layer.weight)))
    return simulated


@torch.no_grad()
def take_ranges(simulated: nn.Module, batches: Iterable[Tensor]) -> None:
    """Take the least and the greatest value of each activation, without quantising; earlier ranges are forgotten.

    Args:
        simulated: what `fake_quantized` gave; it quantises from now on.
        batches: preprocessed images `[B, C, H, W]`.
    """
    activations = [module for module in simulated.modules() if isinstance(module, FakeQuantize)]
    for module in activations:
        module.activation_post_process.reset_min_max_vals()
        module.enable_observer(True)
    set_quantizing(simulated, False)
    for images in batches:
        simulated(images)
    for module in activations:
        module.disable_observer()
    set_quantizing(simulated, True)


def set_quantizing(simulated: nn.Module, enabled: bool) -> None:
    """Whether weights and activations are quantised; otherwise they are those of the float network."""
    for module in simulated.modules():
        if isinstance(module, FakeQuantize):
            module.enable_fake_quant(enabled)
        elif isinstance(module, FakeQuantizedWeight):
            module.enabled = enabled


def restore(network: nn.Module) -> None:
    """Take the parametrizations off a network that was given to `fake_quantized`: float weights, as trained."""
    set_quantizing(network, False)
    for module in list(network.modules()):
        if parametrize.is_parametrized(module, "weight"):
            parametrize.remove_parametrizations(module, "weight")


def _activation() -> FakeQuantize:
    return FakeQuantize(MinMaxObserver, quant_min=0, quant_max=255, dtype=torch.quint8)


def _spell_out_gates(simulated: fx.GraphModule) -> None:
    """Write (hard) sigmoids and what multiplies by them as the exported file does."""
    graph = simulated.graph
    for node in list(graph.nodes):
        kind = _kind(simulated, node)
        if kind not in _SWISH | _HARD_SWISH | _HARD_SIGMOID:
            continue
        value = node.args[0]
        with graph.inserting_before(node):
            if kind in _SWISH:
                result = gate = graph.call_function(torch.sigmoid, (value,))
            else:
                value = graph.call_function(torch.clamp_min, (value, -3.0))
                result = gate = graph.call_function(functional.hardsigmoid, (value,))
            if kind not in _HARD_SIGMOID:
                result = graph.call_function(torch.mul, (value, gate))
        gate.meta = result.meta = node.meta
        node.replace_all_uses_with(result)
        graph.erase_node(node)


def _tensors(simulated: fx.GraphModule, quantised: list[fx.Node]) -> list[fx.Node]:
    """Where tensors arise that enter or leave a quantised operation."""
    found: dict[fx.Node, None] = {}
    for node in quantised:
        found |= dict.fromkeys(_origin(simulated, source) for source in node.all_input_nodes)
        if _kind(simulated, node) is not nn.Linear:
            found[_fused_activation(simulated, node)] = None
    return list(found)


def _origin(simulated: fx.GraphModule, node: fx.Node) -> fx.Node:
    while _kind(simulated, node) in _SAME_NUMBERS:
        node = node.all_input_nodes[0]
    return node


def _fused_activation(simulated: fx.GraphModule, node: fx.Node) -> fx.Node:
    """The ReLU that is part of an operation, or the operation itself."""
    last = node
    while len(last.users) == 1:
        last = next(iter(last.users))
        kind = _kind(simulated, last)
        if kind in _FUSED:
            return last
        if kind not in _SAME_NUMBERS:
            break
    return node


def _kind(simulated: fx.GraphModule, node: fx.Node) -> object:
    """A module's type, a function, or the name of a method."""
    if node.op == "call_module":
        layer = simulated.get_submodule(str(node.target))
        return parametrize.type_before_parametrizations(layer)
    return node.target if node.op in ("call_function", "call_method") else None


def _owner(node: fx.Node) -> str:
    """The name of the innermost module that a node belongs to; empty for the network itself."""
    return next(reversed(node.meta.get("nn_module_stack", {"": None})), "")
