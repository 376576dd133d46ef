"""Small networks with plausible batch norms, exported in float, and images for them."""

from __future__ import annotations

from functools import cache

import fairnas.models  # noqa: F401  (registers our networks with timm)
import timm
import torch
from fairnas.exporters import Preprocessing, export_onnx
from torch import Tensor, nn

SIDE = 32
CLASSES = tuple("abcdefghij")
PREPROCESSING = Preprocessing(SIDE, 0.875, (0.485, 0.456, 0.406), (0.229, 0.224, 0.225))


def images(count: int = 8, seed: int = 0) -> Tensor:
    """Smooth noise, as photographs are: `[count, 3, SIDE, SIDE]`."""
    generator = torch.Generator().manual_seed(seed)
    coarse = torch.randn(count, 3, SIDE // 4, SIDE // 4, generator=generator)
    fine = 0.3 * torch.randn(count, 3, SIDE, SIDE, generator=generator)
    return nn.functional.interpolate(coarse, size=SIDE, mode="bilinear") + fine


@cache
def exported_network(name: str, network: nn.Module | None = None) -> tuple[nn.Module, bytes]:
    """A network with random weights, whose batch norms know the images, and its ONNX file."""
    if network is None:
        torch.manual_seed(0)
        network = timm.create_model(name, num_classes=len(CLASSES))
        for module in network.modules():
            if isinstance(module, nn.BatchNorm2d):
                module.momentum = None  # the mean over what is seen
                nn.init.uniform_(module.weight, 0.5, 1.5)  # some begin at 0
        with torch.no_grad():
            network.train()(images(64, seed=1))
    network.eval().requires_grad_(False)
    return network, export_onnx(network, PREPROCESSING, CLASSES, 18, name)
