"""torchvision's RetinaNet with our backbones: it trains, it detects, and its backbone and pyramid leave as ONNX."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import onnx
import pytest
import timm
import torch
from fairnas.exporters import ExportError
from fairnas.exporters.backbones.onnx import BackboneAndNeck, export_backbone
from fairnas.exporters.backbones.torchvision import FeaturePyramid, retinanet
from fairnas.exporters.parity import onnx_logits
from safetensors.torch import save_file
from torch import nn


def small(network: str = "fairnas_c", **kwargs: Any) -> Any:
    torch.manual_seed(0)
    return retinanet(network, num_classes=2, width=16, min_size=64, max_size=96, **kwargs)


@pytest.mark.parametrize("location", ["", "expansion"])
@pytest.mark.parametrize("network", ["fairnas_c_se", "mobilenetv2_100"])
def test_it_trains_and_detects(network: str, location: str) -> None:
    detector = small(network, location=location)
    images = [torch.rand(3, 64, 80), torch.rand(3, 70, 64)]
    boxes = [{"boxes": torch.tensor([[8.0, 8.0, 40.0, 56.0]]), "labels": torch.tensor([1])} for _ in images]
    losses = detector(images, boxes)
    torch.stack(list(losses.values())).sum().backward()
    for name, parameter in detector.named_parameters():
        assert parameter.requires_grad == (parameter.grad is not None), name
    with torch.inference_mode():
        found = detector.eval()(images)
    assert [set(each) for each in found] == [{"boxes", "scores", "labels"}] * 2


def test_a_classifiers_weights_are_taken(tmp_path: Path) -> None:
    classifier = timm.create_model("fairnas_c", num_classes=7)
    save_file(classifier.state_dict(), tmp_path / "weights.safetensors")
    detector = small(weights=tmp_path / "weights.safetensors")
    body = detector.backbone.body.state_dict()
    assert all(torch.equal(tensor, classifier.state_dict()[name]) for name, tensor in body.items())
    with pytest.raises(ExportError, match="does not hold the weights of this backbone"):
        small("fairnas_a", weights=tmp_path / "weights.safetensors")


def test_mistakes_are_named() -> None:
    with pytest.raises(ExportError, match="unknown network"):
        small("fairnas_z")
    with pytest.raises(ExportError, match="unknown feature_location"):
        small(location="depth")
    with pytest.raises(ExportError, match="Linear has no backbone"):
        BackboneAndNeck(nn.Linear(1, 1))


@pytest.mark.parametrize("location", ["", "expansion"])
def test_backbone_and_pyramid_agree_in_onnx_at_any_size(location: str) -> None:
    detector = small("fairnas_c_se", location=location)
    content, parities = export_backbone(detector, torch.randn(2, 3, 64, 96))
    assert [output.name for output in onnx.load_from_string(content).graph.output] == [
        f"features_{level}" for level in range(5)
    ]
    assert [parity.images for parity in parities] == [2] * 5
    assert max(parity.max_relative_difference for parity in parities) < 1e-5
    images = torch.randn(3, 3, 128, 64)  # neither the batch nor the sides of before
    with torch.inference_mode():
        expected = BackboneAndNeck(detector).eval()(images)
    for level, each in enumerate(expected):
        torch.testing.assert_close(onnx_logits(content, f"features_{level}")(images), each, rtol=1e-3, atol=1e-4)


def test_a_level_that_differs_is_refused() -> None:
    class Drifting(FeaturePyramid):
        """Gives other features each time."""

        def forward(self, images: torch.Tensor) -> dict[str, torch.Tensor]:
            return {name: level + torch.rand(()).item() for name, level in super().forward(images).items()}

    detector = small()
    detector.backbone = Drifting("fairnas_c", out_channels=16)
    with pytest.raises(ExportError, match="features_0 of the exported backbone differs"):
        export_backbone(detector, torch.randn(1, 3, 64, 64))
