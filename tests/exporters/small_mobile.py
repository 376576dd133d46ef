"""Mobile networks of a few small blocks, built by timm as the large ones are, and what the exporter makes of them."""

from __future__ import annotations

import torch
from fairnas.exporters import Preprocessing, export_onnx
from fairnas.exporters.deployable import Samples
from fairnas.exporters.onnx.int8 import quantise_onnx
from fairnas.exporters.onnx.settings import Int8Settings
from timm.models import EfficientNet
from timm.models._efficientnet_builder import decode_arch_def
from torch import Tensor, nn

PLAIN, SWISH, HARD_SWISH = "_nre", "_se0.25_nsw", "_se0.25_nhs"
STATISTICS = (0.5, 0.5, 0.5)


def small_mobile(blocks: str = PLAIN) -> EfficientNet:
    """Four blocks of at most 48 channels and 10 classes."""
    stages = [["ds_r1_k3_s1_e1_c8_noskip"], [f"ir_r2_k3_s2_e3_c12{blocks}"], [f"ir_r1_k3_s2_e4_c16{blocks}"]]
    return EfficientNet(
        decode_arch_def(stages), num_classes=10, num_features=32, stem_size=8, fix_stem=True, act_layer=nn.ReLU
    )


def int8_file(network: nn.Module, images: Tensor, labels: Tensor) -> bytes:
    """The network as the exporter's int8 file, every layer in int8, with the least and greatest values as ranges."""
    preprocessing = Preprocessing(images.shape[-1], 1.0, STATISTICS, STATISTICS)
    content = export_onnx(network, preprocessing, [str(number) for number in range(10)], 18, "small")
    settings = Int8Settings(methods=["minmax"], max_float_layers=0)
    exported = quantise_onnx(
        content, Samples(images, images, labels), settings, lambda text: None, with_float_front=False
    )
    return next(iter(exported.files.values()))


def settled(network: nn.Module, images: Tensor) -> nn.Module:
    """With the batch-norm statistics of some images."""
    for module in network.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.momentum = None
    with torch.no_grad():
        network.train()(images)
    return network.eval()
