"""Counts taken from real modules: what their layers do to a meta tensor, without any arithmetic of the project."""

from __future__ import annotations

from collections.abc import Iterable

import torch
from fairnas.models import Cost
from torch import Tensor, nn


def parameters(module: nn.Module) -> int:
    return sum(parameter.numel() for parameter in module.parameters())


def run(module: nn.Module, images: Tensor) -> tuple[int, Tensor]:
    """Multiply-adds of every convolution and linear layer that a forward pass goes through, and the output."""
    madds = 0

    def count(layer: nn.Module, _: object, output: Tensor) -> None:
        nonlocal madds
        assert isinstance(layer, nn.Conv2d | nn.Linear)
        positions = output.shape[2] * output.shape[3] if isinstance(layer, nn.Conv2d) else 1
        madds += layer.weight.numel() * positions

    layers = [layer for layer in module.modules() if isinstance(layer, nn.Conv2d | nn.Linear)]
    hooks = [layer.register_forward_hook(count) for layer in layers]
    with torch.inference_mode():
        output = module(images)
    for hook in hooks:
        hook.remove()
    return madds, output


def whole(network: nn.Module, resolution: int, in_channels: int = 3) -> Cost:
    """Cost of a network on the meta device, from one forward pass through all of it."""
    madds, _ = run(network, torch.empty(1, in_channels, resolution, resolution, device="meta"))
    return Cost(parameters(network), madds)


class Tracer:
    """Traces many networks: equal modules (by their printed form) on inputs of equal shape are run only once."""

    def __init__(self) -> None:
        self._known: dict[tuple[str, torch.Size], tuple[int, Tensor]] = {}

    def cost(self, network: nn.Module, resolution: int) -> Cost:
        features = torch.empty(1, 3, resolution, resolution, device="meta")
        madds = 0
        for module in self._in_order(network):
            key = (repr(module), features.shape)
            if key not in self._known:
                self._known[key] = run(module, features)
            more, features = self._known[key]
            madds += more
        return Cost(parameters(network), madds)

    @staticmethod
    def _in_order(network: nn.Module) -> Iterable[nn.Module]:
        for name, child in network.named_children():
            if name == "blocks":
                for stage in child.children():
                    yield from stage.children()
            else:
                yield child
