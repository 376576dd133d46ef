"""Stand-alone networks through timm: every registered name, features, heads and inputs."""

from __future__ import annotations

import math
from typing import Any

import fairnas.models  # noqa: F401  (registers the networks)
import pytest
import timm
import torch
from fairnas.models import PUBLISHED, build_network, get_space
from timm.models import EfficientNet
from torch import nn

NAMES = sorted(PUBLISHED)


def create(name: str, **options: Any) -> Any:
    return timm.create_model(name, **options).eval()


def test_timm_lists_the_networks() -> None:
    assert set(timm.list_models("fairnas*")) == {"fairnas", *NAMES}


@pytest.mark.parametrize("name", NAMES)
def test_a_registered_network_classifies(name: str) -> None:
    network = create(name, num_classes=7, in_chans=1)
    assert isinstance(network, EfficientNet)
    with torch.inference_mode():
        logits = network(torch.randn(2, 1, 32, 32))
        features = network.forward_features(torch.randn(2, 1, 64, 64))
    assert logits.shape == (2, 7)
    assert logits.isfinite().all()
    assert features.shape == (2, 1280, 2, 2)
    assert network.num_features == 1280
    params = sum(p.numel() for p in network.parameters())
    assert params == get_space("b").cost(PUBLISHED[name], 32, 7, in_channels=1).params


@pytest.mark.parametrize("name", NAMES)
def test_features_come_at_five_strides(name: str) -> None:
    network = create(name, features_only=True)
    with torch.inference_mode():
        maps = network(torch.randn(1, 3, 64, 96))
    assert network.feature_info.reduction() == [2, 4, 8, 16, 32]
    # Block outputs at the end of each stride; the separable block stands for stride 2.
    assert network.feature_info.channels() == [16, 32, 40, 96, 320]
    assert [tuple(m.shape) for m in maps] == [
        (1, channels, 64 // stride, 96 // stride)
        for channels, stride in zip([16, 32, 40, 96, 320], [2, 4, 8, 16, 32], strict=True)
    ]


def test_features_can_be_chosen() -> None:
    network = create("fairnas_b", features_only=True, out_indices=(2, 4), in_chans=4)
    with torch.inference_mode():
        maps = network(torch.randn(1, 4, 64, 64))
    assert [tuple(m.shape[1:]) for m in maps] == [(40, 8, 8), (320, 2, 2)]


def test_features_equal_those_inside_the_classifier() -> None:
    whole, parts = create("fairnas_c"), create("fairnas_c", features_only=True)
    missing, unexpected = parts.load_state_dict(whole.state_dict(), strict=False)
    assert not missing
    assert all(key.split(".")[0] in ("conv_head", "bn2", "classifier") for key in unexpected)
    images = torch.randn(2, 3, 64, 64)
    with torch.inference_mode():
        last = whole.blocks(whole.bn1(whole.conv_stem(images)))
        torch.testing.assert_close(parts(images)[-1], last, rtol=0, atol=0)


def test_a_classifier_can_be_left_out() -> None:
    with torch.inference_mode():
        assert create("fairnas_a", num_classes=0)(torch.randn(1, 3, 32, 32)).shape == (1, 1280)


@pytest.mark.parametrize("name", ["fairnas_a", "fairnas_a_se"])
def test_activations_follow_the_authors_code(name: str) -> None:
    network = create(name)
    acts = {key: type(module).__name__ for key, module in network.named_modules() if "act" in key.split(".")[-1]}
    plain = "ReLU" if name.endswith("_se") else "ReLU6"
    inner = "SiLU" if name.endswith("_se") else "ReLU6"
    fixed = {key: value for key, value in acts.items() if not key.startswith("blocks.") or key.startswith("blocks.0")}
    searched = {key: value for key, value in acts.items() if key not in fixed and value != "Identity"}
    assert {value for value in fixed.values() if value != "Identity"} == {plain}
    assert set(searched.values()) == {inner}
    gates = [module for module in network.modules() if type(module).__name__ == "SqueezeExcite"]
    assert len(gates) == (19 if name.endswith("_se") else 0)
    assert not any(type(m).__name__ == "SqueezeExcite" for m in network.blocks[0].modules())


def test_skips_are_where_size_and_channels_stay() -> None:
    network = create("fairnas_a")
    blocks = [block for stage in network.blocks for block in stage]
    assert [getattr(block, "has_skip", None) for block in blocks] == [
        False,
        *(layer.stride == 1 and layer.in_channels == layer.out_channels for layer in get_space("b").layers),
    ]


@pytest.mark.parametrize("classes", [10, 1000])
def test_initialisation_is_the_authors_but_for_the_classifier(classes: int) -> None:
    torch.manual_seed(0)
    network = create("fairnas_a", num_classes=classes)
    for name, module in network.named_modules():
        if isinstance(module, nn.Conv2d) and module.weight.numel() > 20_000:
            expected = math.sqrt(2 / (module.kernel_size[0] ** 2 * module.out_channels))
            assert module.weight.std().item() == pytest.approx(expected, rel=0.03), name
        if isinstance(module, nn.BatchNorm2d):
            assert (module.weight == 1).all()
            assert (module.bias == 0).all()
    bound = 1 / math.sqrt(1280)
    assert network.classifier.weight.abs().max() <= bound
    assert network.classifier.weight.std().item() == pytest.approx(bound / math.sqrt(3), rel=0.02)
    assert (network.classifier.bias == 0).all()


def test_any_architecture_goes_through_timm() -> None:
    text = "a:" + "-".join(["E6K5"] * 16)
    network = create("fairnas", architecture=text, num_classes=3)
    assert (
        sum(p.numel() for p in network.parameters())
        == get_space("a").cost(get_space("a").uniform("E6K5"), 224, 3).params
    )
    with pytest.raises(ValueError, match="unknown network 'resnet50'"):
        create("fairnas", architecture="resnet50")


def test_pretrained_is_refused_with_a_way_out() -> None:
    with pytest.raises(ValueError, match="no weights are published for fairnas_b: train it with `fairnas retrain`"):
        timm.create_model("fairnas_b", pretrained=True)


def test_dilation_instead_of_the_last_stride() -> None:
    network = build_network(PUBLISHED["fairnas_a"], features_only=True, output_stride=16).eval()
    with torch.inference_mode():
        maps = network(torch.randn(1, 3, 64, 64))
    assert [m.shape[-1] for m in maps][-2:] == [4, 4]
