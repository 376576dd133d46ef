"""What each module of a network answers, under the names that PyTorch's exporter gives to ONNX nodes."""

from __future__ import annotations

from collections.abc import Collection

import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.nn.modules.batchnorm import _BatchNorm
from torch.nn.modules.conv import _ConvNd

_WEIGHTED = (_ConvNd, nn.Linear)  # what a batch norm can become part of


@torch.no_grad()
def module_outputs(network: nn.Module, images: Tensor, unfolded: Collection[str]) -> dict[str, Tensor]:
    """The output of every module that is called once and answers with one tensor, by its path.

    Args:
        network: on the CPU; put into evaluation mode.
        images: preprocessed, `[N, C, H, W]`.
        unfolded: paths of modules whose batch norm stands for itself in the file; the output of any other module whose
            output a batch norm takes is given as that leaves it, without the activation that may be part of its module.
    """
    network.eval()
    outputs: dict[str, Tensor] = {}
    weighted: dict[int, tuple[str, Tensor]] = {}  # keeps the tensors, so that no id is given twice
    repeated: set[str] = set()

    def before(module: nn.Module, inputs: tuple[object, ...]) -> None:
        path, value = weighted.get(id(inputs[0]), ("", None)) if inputs else ("", None)
        if value is not None and path not in unfolded:
            assert isinstance(module, _BatchNorm)
            outputs[path] = functional.batch_norm(
                outputs[path], module.running_mean, module.running_var, module.weight, module.bias, eps=module.eps
            )

    def after(path: str, module: nn.Module, output: object) -> None:
        if path in outputs:
            repeated.add(path)
        if not isinstance(output, Tensor):
            return
        outputs[path] = output.clone()  # an activation may overwrite it
        if isinstance(module, _WEIGHTED):
            weighted[id(output)] = (path, output)
        elif not isinstance(module, nn.Identity):
            weighted.pop(id(output), None)  # an activation wrote into it

    hooks = []
    for path, module in network.named_modules():
        if isinstance(module, _BatchNorm):
            hooks.append(module.register_forward_pre_hook(before))
        hooks.append(module.register_forward_hook(lambda layer, _, output, path=path: after(path, layer, output)))
    try:
        network(images)
    finally:
        for hook in hooks:
            hook.remove()
    return {path: output for path, output in outputs.items() if path not in repeated}


def module_paths(network: nn.Module, node: str) -> list[str]:
    """Paths of the modules that a node is in, outermost first: of `/blocks/blocks.1/conv_pw/Conv` the last is
    `blocks.1.conv_pw`.

    The exporter writes a member of a sequence with the sequence's own name before it.
    """
    module, path, name, found = network, [], "", []
    for part in node.strip("/").split("/")[:-1]:
        child = part.removeprefix(f"{name}.") if name else part
        inner = getattr(module, child, None)
        if not isinstance(inner, nn.Module):
            break
        module, name = inner, part
        path.append(child)
        found.append(".".join(path))
    return found
