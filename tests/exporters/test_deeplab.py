"""DeepLabv3+ as the paper has it: its published totals, output stride, weights of classifiers, export to ONNX."""

from __future__ import annotations

from pathlib import Path

import pytest
import timm
import torch
from fairnas.exporters import ExportError
from fairnas.exporters.backbones.deeplab import DeepLabHead, Segmenter, build_deeplab
from fairnas.exporters.backbones.weights import load_backbone_weights
from safetensors.torch import save_file
from torch import nn
from torch.utils.flop_counter import FlopCounterMode


def parameters(module: nn.Module) -> int:
    return sum(parameter.numel() for parameter in module.parameters())


def madds(module: nn.Module, *shape: int) -> int:
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        module.to("meta").eval()(torch.empty(shape, device="meta"))
    return counter.get_total_flops() // 2


def save_classifier(name: str, path: Path) -> nn.Module:
    torch.manual_seed(1)
    classifier = timm.create_model(name, num_classes=7).eval()
    save_file(classifier.state_dict(), path)
    return classifier


def test_head_has_the_recovered_parameters() -> None:
    assert parameters(DeepLabHead(320, 21)) == 301_845


@pytest.mark.parametrize(
    ("name", "millions", "billions"),
    [("fairnas_a", 3.260, 4.03), ("fairnas_b", 3.115, 3.79), ("fairnas_c", 3.007, 3.64)],
)
def test_totals_of_the_paper(name: str, millions: float, billions: float) -> None:
    segmenter = build_deeplab(name, 21)
    assert round(parameters(segmenter) / 1e6, 3) == millions
    assert round(madds(segmenter, 1, 3, 513, 513) / 1e9, 2) == billions


def test_removed_stride_becomes_dilation() -> None:
    segmenter = build_deeplab("fairnas_c", 11)
    strided = timm.create_model("fairnas_c", features_only=True)
    last, before = (dict(network.named_modules()) for network in (segmenter.backbone, strided))
    depthwise = [name for name in last if name.endswith("conv_dw")]
    for name in depthwise:
        inside, layer = last[name], before[name]
        assert isinstance(inside, nn.Conv2d)
        assert isinstance(layer, nn.Conv2d)
        kernel = layer.kernel_size[0]
        after_it = name.startswith("blocks.5.") and name != "blocks.5.0.conv_dw"
        assert inside.stride == ((1, 1) if name == "blocks.5.0.conv_dw" else layer.stride)
        assert inside.dilation == ((2, 2) if after_it else (1, 1))
        assert inside.padding == ((kernel // 2 * (2 if after_it else 1),) * 2)
    # The network is otherwise the same: at even places, the dilated one sees what the strided one saw.
    segmenter.backbone.load_state_dict(strided.state_dict())
    images = torch.randn(1, 3, 64, 64)
    with torch.inference_mode():
        dense, sparse = segmenter.backbone.eval()(images)[-1], strided.eval()(images)[-1]
    torch.testing.assert_close(dense[:, :, ::2, ::2], sparse, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("name", ["fairnas_c", "fairnas_c_se", "mobilenetv2_100", "b:" + "-".join(["E3K3"] * 19)])
def test_every_pixel_gets_logits_and_every_weight_a_gradient(name: str) -> None:
    segmenter = build_deeplab(name, 5)
    logits = segmenter(torch.randn(2, 3, 40, 72))  # sides that the stride does not divide
    assert logits.shape == (2, 5, 40, 72)
    logits.square().mean().backward()
    assert all(parameter.grad is not None for parameter in segmenter.parameters())


def test_classifiers_weights_fit(tmp_path: Path) -> None:
    classifier = save_classifier("fairnas_c", tmp_path / "weights.safetensors")
    segmenter = build_deeplab("fairnas_c", 11, output_stride=32)
    load_backbone_weights(segmenter, tmp_path / "weights.safetensors")
    images = torch.randn(1, 3, 64, 64)
    with torch.inference_mode():
        features = segmenter.eval().backbone(images)[-1]
        expected = classifier(images)
        head = nn.Sequential(
            *(classifier.get_submodule(name) for name in ("conv_head", "bn2", "global_pool", "classifier"))
        )
        torch.testing.assert_close(head(features), expected)


@pytest.mark.parametrize("other", ["fairnas_a", "fairnas_c_se", "mobilenetv2_100"])
def test_other_networks_weights_do_not_fit(other: str, tmp_path: Path) -> None:
    save_classifier(other, tmp_path / "weights.safetensors")
    segmenter = build_deeplab("fairnas_c", 11)
    with pytest.raises(ExportError, match="does not hold the weights of this backbone"):
        load_backbone_weights(segmenter, tmp_path / "weights.safetensors")


def test_no_weights_and_no_backbone(tmp_path: Path) -> None:
    with pytest.raises(ExportError, match="cannot read weights"):
        load_backbone_weights(build_deeplab("fairnas_c", 11), tmp_path / "none.safetensors")
    with pytest.raises(ExportError, match="no backbone"):
        load_backbone_weights(nn.Linear(1, 1), tmp_path / "none.safetensors")


@pytest.mark.parametrize("name", ["fairnas_z", "torch.nn:Identity", "vit_tiny_patch16_224"])
def test_no_backbone_of_that_name(name: str) -> None:
    with pytest.raises(ExportError, match=r"unknown network|cannot be a backbone"):
        build_deeplab(name, 11)


def test_head_pools_over_the_whole_image() -> None:
    torch.manual_seed(0)
    segmenter = Segmenter(nn.ModuleList(), DeepLabHead(8, 3)).eval()
    features = torch.randn(1, 8, 5, 5)
    with torch.inference_mode():
        plain = segmenter.head(features)
        features[:, :, 0, 0] += 100
        changed = segmenter.head(features)
    assert (plain[:, :, 4, 4] != changed[:, :, 4, 4]).any()
