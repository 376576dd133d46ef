"""Our networks as encoders of segmentation_models_pytorch: through timm, after `import fairnas.models`."""

from __future__ import annotations

from pathlib import Path

import fairnas.models  # noqa: F401  (it registers the networks with timm)
import pytest
import timm
import torch
from fairnas.exporters import ExportError
from fairnas.exporters.backbones.weights import load_backbone_weights
from safetensors.torch import save_file

smp = pytest.importorskip("segmentation_models_pytorch")


@pytest.mark.parametrize("name", ["fairnas_a", "fairnas_b", "fairnas_c", "fairnas_c_se"])
def test_deeplabv3plus_at_output_stride_16(name: str) -> None:
    model = smp.DeepLabV3Plus(f"tu-{name}", encoder_weights=None, encoder_output_stride=16, classes=11)
    images = torch.randn(2, 3, 64, 96)
    features = model.encoder(images)
    assert [tuple(feature.shape[2:]) for feature in features[1:]] == [(32, 48), (16, 24), (8, 12), (4, 6), (4, 6)]
    logits = model(images)
    assert logits.shape == (2, 11, 64, 96)
    logits.square().mean().backward()
    assert all(parameter.grad is not None for parameter in model.parameters())


def test_any_architecture_and_another_decoder() -> None:
    model = smp.Unet("tu-fairnas", encoder_weights=None, architecture="b:" + "-".join(["E3K3"] * 19), classes=2)
    assert model(torch.randn(1, 3, 64, 64)).shape == (1, 2, 64, 64)


def test_the_encoder_takes_a_classifiers_weights(tmp_path: Path) -> None:
    classifier = timm.create_model("fairnas_c", num_classes=10)
    save_file(classifier.state_dict(), tmp_path / "weights.safetensors")
    model = smp.DeepLabV3Plus("tu-fairnas_c", encoder_weights=None, classes=11)
    load_backbone_weights(model, tmp_path / "weights.safetensors")
    reference = timm.create_model("fairnas_c", features_only=True, output_stride=16)
    load_backbone_weights(reference, tmp_path / "weights.safetensors")
    images = torch.randn(1, 3, 64, 64)
    with torch.inference_mode():
        for ours, expected in zip(model.eval().encoder(images)[1:], reference.eval()(images), strict=True):
            torch.testing.assert_close(ours, expected)
    with pytest.raises(ExportError, match="does not hold the weights of this backbone"):
        load_backbone_weights(smp.Unet("tu-fairnas_a", encoder_weights=None), tmp_path / "weights.safetensors")


def test_no_pretrained_weights_are_promised() -> None:
    with pytest.raises((ValueError, RuntimeError), match="fairnas_c"):
        smp.DeepLabV3Plus("tu-fairnas_c", encoder_weights="imagenet")
