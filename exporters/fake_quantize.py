"""The int8 form, simulated in float: what quantisation-aware training sees of the deployed file.

The file holds int8 weights, symmetric, with a scale for each output channel, and uint8 activations with one scale and
zero point for a tensor, wherever a tensor enters or leaves a convolution, a linear layer, a sum, a product, a sigmoid
or a pooling. A ReLU right after one of these is part of it; a SiLU is a sigmoid and a product.
"""

from __future__ import annotations

import operator
from collections.abc import Callable

import torch
from torch import Tensor, fx, nn
from torch.ao.quantization import FakeQuantize, MovingAverageMinMaxObserver
from torch.nn import functional
from torch.nn.utils import parametrize

from ..models.folding import WEIGHTED, operations

# What an ONNX file quantises, as `torch.fx` names it: types of modules, functions, and names of methods.
_QUANTISED = {
    *WEIGHTED,
    *(nn.AdaptiveAvgPool2d, nn.AvgPool2d, nn.MaxPool2d, nn.Sigmoid),
    *(operator.add, operator.iadd, operator.mul, operator.imul, torch.add, torch.mul, torch.cat, torch.sigmoid),
    *("add", "add_", "mul", "mul_", "sigmoid", "sigmoid_"),
}
_FUSED = {nn.ReLU, nn.ReLU6, nn.Hardtanh, functional.relu, functional.relu6, torch.relu, "relu", "relu_"}
_SAME_NUMBERS = {nn.Identity, nn.Dropout, nn.Flatten, torch.flatten, "flatten", "view", "reshape", "contiguous"}
_INT8 = 127


class FakeQuantizedWeight(nn.Module):
    """A parametrization: a weight `[O, ...]` as int8 would hold it; gradients pass as if it were not there.

    The scale of a channel maps its largest absolute value to 127.
    """

    enabled = True

    def forward(self, weight: Tensor) -> Tensor:
        """The nearest weight that int8 can hold."""
        if not self.enabled:
            return weight
        largest = weight.detach().abs().flatten(1).amax(1)
        scale = (largest / _INT8).clamp_min(torch.finfo(torch.float32).eps)
        zero = torch.zeros_like(scale, dtype=torch.int32)
        return torch.fake_quantize_per_channel_affine(weight, scale, zero, 0, -_INT8, _INT8)


def fake_quantized(network: nn.Module, exclude: Callable[[str], bool] = lambda name: False) -> fx.GraphModule:
    """A network that computes as the int8 file of `network` will, and trains the weights of `network` itself.

    It computes as in evaluation mode. Ranges of activations are to be observed first: see `set_mode`.

    Args:
        network: folded (`fairnas.models.folding`); its weights get a parametrization, which `restore` takes away.
        exclude: by the name of a layer, or of the module that adds or multiplies, whether it stays in float.

    Raises:
        ValueError: what the network computes depends on its input.
    """
    simulated = fx.GraphModule(network, operations(network.eval()))
    _spell_out_silu(simulated)
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
                parametrize.register_parametrization(layer, "weight", FakeQuantizedWeight())
    return simulated


def set_mode(simulated: nn.Module, *, observe: bool, quantize: bool) -> None:
    """Whether the ranges of activations follow what passes, and whether weights and activations are quantised."""
    for module in simulated.modules():
        if isinstance(module, FakeQuantize):
            module.enable_observer(observe)
            module.enable_fake_quant(quantize)
        elif isinstance(module, FakeQuantizedWeight):
            module.enabled = quantize


def restore(network: nn.Module) -> None:
    """Take the parametrizations off a network that was given to `fake_quantized`: float weights, as trained."""
    for module in list(network.modules()):
        if parametrize.is_parametrized(module, "weight"):
            parametrize.remove_parametrizations(module, "weight", leave_parametrized=False)


def _activation() -> FakeQuantize:
    return FakeQuantize(
        MovingAverageMinMaxObserver, quant_min=0, quant_max=255, dtype=torch.quint8, averaging_constant=0.1
    )


def _spell_out_silu(simulated: fx.GraphModule) -> None:
    """Write SiLU as the exported file does, where sigmoid and product are each quantised."""
    for node in list(simulated.graph.nodes):
        if _kind(simulated, node) in (nn.SiLU, functional.silu):
            value = node.args[0]
            with simulated.graph.inserting_before(node):
                gate = simulated.graph.call_function(torch.sigmoid, (value,))
                product = simulated.graph.call_function(torch.mul, (value, gate))
            gate.meta = product.meta = node.meta
            node.replace_all_uses_with(product)
            simulated.graph.erase_node(node)


def _tensors(simulated: fx.GraphModule, quantised: list[fx.Node]) -> list[fx.Node]:
    """Where tensors arise that enter or leave a quantised operation."""
    found: dict[fx.Node, None] = {}
    for node in quantised:
        found |= dict.fromkeys(_origin(simulated, source) for source in node.all_input_nodes)
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
