"""Batch norm folded into the layer before it: what a network is when it is quantised."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from typing import cast

from timm.layers import BatchNormAct2d
from timm.layers.conv2d_same import Conv2dSame
from timm.models import get_notrace_functions, get_notrace_modules
from torch import Tensor, fx, nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.nn.modules.conv import _ConvNd
from torch.nn.utils.fusion import fuse_conv_bn_eval, fuse_linear_bn_eval

# By type and not by `isinstance`: a sub-class may compute something else with its weight, as StdConv2d does.
CONVOLUTIONS = (nn.Conv1d, nn.Conv2d, nn.Conv3d, Conv2dSame)
WEIGHTED = (*CONVOLUTIONS, nn.Linear)


class _Tracer(fx.Tracer):
    """Keeps whole what is folded or quantised as a whole, and what timm knows not to be traceable."""

    _whole = (*WEIGHTED, _BatchNorm, *get_notrace_modules())

    def __init__(self) -> None:
        super().__init__(autowrap_functions=tuple(get_notrace_functions()))

    def is_leaf_module(self, m: nn.Module, module_qualified_name: str) -> bool:
        return isinstance(m, self._whole) or super().is_leaf_module(m, module_qualified_name)


def operations(network: nn.Module) -> fx.Graph:
    """What a network computes in its present mode, as a graph whose nodes name its layers.

    Raises:
        ValueError: what it computes depends on its input.
    """
    try:
        return _Tracer().trace(network)
    except Exception as error:  # whatever the user's code raises when it is given no tensors
        text = " ".join(str(error).split())
        raise ValueError(f"cannot follow what {type(network).__name__} computes: {text}") from error


def folded(network: nn.Module) -> nn.Module:
    """A copy without the batch norms that follow a convolution or linear layer; it answers the same.

    Layers keep their names; where a batch norm was there is its activation (timm's `BatchNormAct2d` holds one), or
    nothing. Batch norms that follow anything else stay.

    Returns:
        The copy, in evaluation mode.

    Raises:
        ValueError: what the network computes depends on its input.
    """
    network = copy.deepcopy(network).eval()
    graph = operations(network)
    calls = [str(node.target) for node in graph.nodes if node.op == "call_module"]
    for node in graph.nodes:
        before = node.args[0] if node.args else None
        if node.op != "call_module" or not isinstance(before, fx.Node) or before.op != "call_module":
            continue
        names = str(before.target), str(node.target)
        if len(before.users) > 1 or any(calls.count(name) > 1 for name in names):
            continue  # someone else needs the layer as it is
        layer, norm = (network.get_submodule(name) for name in names)
        if isinstance(norm, _BatchNorm) and norm.running_mean is not None and type(layer) in WEIGHTED:
            network.set_submodule(names[0], _fused(layer, norm))
            network.set_submodule(names[1], _activation(norm))
    return network


def load_folded(network: nn.Module, weights: Mapping[str, Tensor]) -> nn.Module:
    """A folded copy of a network with the weights of a folded one.

    Args:
        network: with its batch norms; its own weights do not matter.
        weights: state dict of `folded(network)`, perhaps trained on.

    Raises:
        ValueError: they are of another network, or one that was not folded.
    """
    network = folded(network)
    try:
        network.load_state_dict(weights)
    except RuntimeError as error:
        raise ValueError(f"not the weights of this network, folded: {' '.join(str(error).split())}") from None
    return network


def _fused(layer: nn.Module, norm: _BatchNorm) -> nn.Module:
    if isinstance(layer, nn.Linear):
        fused: nn.Module = fuse_linear_bn_eval(layer, norm)
    else:
        fused = fuse_conv_bn_eval(cast(_ConvNd, layer), norm)
    # torch's has a bias that does not learn where the layer had none.
    return fused.requires_grad_(any(weight.requires_grad for weight in layer.parameters()))


def _activation(norm: _BatchNorm) -> nn.Module:
    if not isinstance(norm, BatchNormAct2d):
        return nn.Identity()
    drop, act = norm.get_submodule("drop"), norm.get_submodule("act")
    return act if isinstance(drop, nn.Identity) else nn.Sequential(drop, act)
