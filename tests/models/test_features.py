"""Features are what the whole network computes inside, at the paper's places, for every registered network."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import fairnas.models  # noqa: F401  (registers the networks)
import pytest
import timm
import torch
from fairnas.models import PUBLISHED
from fairnas.models.backbone_features import build_features, channels, modules_until, reductions
from timm.models import EfficientNet
from torch import Tensor, nn

REGISTERED = sorted(timm.list_models("fairnas*"))
# Last layers of strides 4, 8, 16 and 32; layer 1 comes after the separable block.
LAYERS = (2, 6, 14, 19)
BLOCK_OUTPUTS = [16, 32, 40, 96, 320]
# After the depthwise convolutions: 3 or 6 times the channels that enter the block.
LARGE = "b:" + "-".join(["E6K5"] * 19) + "+se0.5+hswish"
EXPANSIONS = {"a": [32, 96, 120, 576, 1152], "b": [32, 96, 120, 288, 1152], "c": [32, 96, 120, 288, 1152]}


def letter_of(name: str) -> str:
    return "a" if name == "fairnas" else name.split("_")[1]


@pytest.fixture(scope="module", params=REGISTERED)
def pair(request: pytest.FixtureRequest) -> tuple[str, EfficientNet, dict[str, nn.Module]]:
    """A whole network, and two that give features of the same weights; no statistic or scale is that of a new one."""
    torch.manual_seed(0)
    whole = timm.create_model(request.param)
    assert isinstance(whole, EfficientNet)
    for module in whole.modules():
        if isinstance(module, nn.BatchNorm2d):
            nn.init.normal_(module.running_mean, std=0.2)  # pyright: ignore[reportArgumentType]
            nn.init.uniform_(module.running_var, 0.5, 1.5)  # pyright: ignore[reportArgumentType]
            nn.init.uniform_(module.weight, 0.5, 1.5)
            nn.init.normal_(module.bias, std=0.2)
    parts = {}
    for location in ("bottleneck", "expansion"):
        parts[location] = timm.create_model(request.param, features_only=True, feature_location=location)
        assert not parts[location].load_state_dict(whole.state_dict(), strict=False).missing_keys
        parts[location].eval()
    return request.param, whole.eval(), parts


@contextmanager
def inside(whole: EfficientNet) -> Iterator[dict[str, list[Tensor]]]:
    """What the whole network computes at both places while the context is open; the order is that of the strides."""
    first, *stages = whole.blocks.children()
    separable = first.get_submodule("0")
    layers: list[Any] = [block for stage in stages for block in stage.children()]
    assert len(layers) == 19
    taps = [separable, *(layers[layer - 1] for layer in LAYERS)]
    seen: dict[str, list[Tensor]] = {"bottleneck": [], "expansion": []}

    def keep(location: str) -> Any:
        return lambda module, inputs, output: seen[location].append(output.clone())

    hooks = []
    for block in taps:
        depthwise = block.bn1 if block is separable else block.bn2  # batch norm and activation
        gate = block.se
        hooks.append(block.register_forward_hook(keep("bottleneck")))
        hooks.append((depthwise if isinstance(gate, nn.Identity) else gate).register_forward_hook(keep("expansion")))
    try:
        yield seen
    finally:
        for hook in hooks:
            hook.remove()


def test_all_are_tested() -> None:
    assert set(REGISTERED) == {"fairnas", *PUBLISHED}
    assert len(REGISTERED) >= 16


@pytest.mark.parametrize("shape", [(1, 64, 96), (8, 32, 32)])
@pytest.mark.parametrize("low_precision", [False, True], ids=["float", "autocast"])
def test_features_equal_what_the_network_has_inside(
    pair: tuple[str, EfficientNet, dict[str, nn.Module]], shape: tuple[int, int, int], low_precision: bool
) -> None:
    name, whole, parts = pair
    batch, height, width = shape
    images = torch.randn(batch, 3, height, width)
    expected_channels = {"bottleneck": BLOCK_OUTPUTS, "expansion": EXPANSIONS[letter_of(name)]}
    with torch.inference_mode(), torch.autocast("cpu", torch.bfloat16, enabled=low_precision):
        with inside(whole) as seen:
            whole(images)
        for location, features in parts.items():
            maps = features(images)
            assert features.feature_info.channels() == expected_channels[location]  # pyright: ignore
            assert features.feature_info.reduction() == [2, 4, 8, 16, 32]  # pyright: ignore
            assert [tuple(each.shape) for each in maps] == [
                (batch, c, height // s, width // s)
                for c, s in zip(expected_channels[location], [2, 4, 8, 16, 32], strict=True)
            ]
            for ours, theirs in zip(maps, seen[location], strict=True):
                torch.testing.assert_close(ours, theirs, rtol=0, atol=0)
                assert ours.std() > 0


def test_the_papers_taps() -> None:
    for name, expected in EXPANSIONS.items():
        features = build_features(f"fairnas_{name}", feature_location="expansion")
        assert channels(features) == expected[1:]
        assert reductions(features) == [4, 8, 16, 32]


@pytest.mark.parametrize("location", ["", "expansion"])
@pytest.mark.parametrize("network", ["fairnas_c_se", "mobilenetv2_100", LARGE])
def test_chosen_features_are_those_of_all(network: str, location: str) -> None:
    every = build_features(network, out_indices=range(5), feature_location=location).eval()
    images = torch.randn(2, 3, 64, 64)
    with torch.inference_mode():
        expected = every(images)
        for indices in ((0, 3), (2, 3, 4)):
            some = build_features(network, out_indices=indices, feature_location=location).eval()
            some.load_state_dict(every.state_dict())
            assert channels(some) == [channels(every)[index] for index in indices]
            for ours, index in zip(some(images), indices, strict=True):
                torch.testing.assert_close(ours, expected[index], rtol=0, atol=0)


@pytest.mark.parametrize("location", ["", "expansion"])
@pytest.mark.parametrize("indices", [(1, 2, 3, 4), (2, 3)])
@pytest.mark.parametrize("network", ["fairnas_c_se", "mobilenetv2_100"])
def test_gradients_reach_all_that_asks_for_them(network: str, indices: tuple[int, ...], location: str) -> None:
    features = build_features(network, out_indices=indices, feature_location=location)
    sum(each.square().mean() for each in features(torch.randn(2, 3, 64, 64))).backward()  # pyright: ignore
    for name, parameter in features.named_parameters():
        assert parameter.requires_grad == (parameter.grad is not None), name
    behind = {name for name, parameter in features.named_parameters() if not parameter.requires_grad}
    # Block outputs at stride 32 need everything.
    assert bool(behind) == (location == "expansion" or indices[-1] < 4)


@pytest.mark.parametrize("network", ["fairnas_c_se", "mobilenetv2_100"])
def test_stages_end_where_features_come_from(network: str) -> None:
    features = build_features(network, out_indices=range(5)).eval()
    with torch.inference_mode():
        images = torch.randn(1, 3, 64, 64)
        maps = features(images)
        for stage in range(1, 6):
            torch.testing.assert_close(nn.Sequential(*modules_until(features, stage))(images), maps[stage - 1])
    assert modules_until(features, 0) == [features.conv_stem, features.bn1]


def test_a_copy_gives_its_own_features() -> None:
    features = build_features("fairnas_c", feature_location="expansion").eval()
    other = copy.deepcopy(features)
    images = torch.randn(1, 3, 32, 32)
    with torch.inference_mode():
        before = features(images)
        nn.init.zeros_(next(other.conv_stem.parameters()))
        assert not torch.equal(other(images)[0], before[0])
        torch.testing.assert_close(features(images), before, rtol=0, atol=0)


@pytest.mark.parametrize(
    ("network", "options", "message"),
    [
        ("fairnas_z", {}, "unknown network 'fairnas_z'"),
        ("torch.nn:Identity", {}, "only our architectures and timm's"),
        ("resnet18", {}, "cannot be a backbone"),
        ("vit_tiny_patch16_224", {}, "cannot be a backbone"),
        ("fairnas_c", {"feature_location": "depth"}, "unknown feature_location 'depth'"),
        ("fairnas_c", {"out_indices": (1, 5)}, "name some of 0 to 4"),
        ("fairnas_c", {"out_indices": (3, 1)}, "in order"),
        ("fairnas_c", {"out_indices": ()}, "name some of 0 to 4"),
        ("fairnas_c", {"output_stride": 4}, "choose from 8, 16, 32"),
    ],
)
def test_mistakes_are_named(network: str, options: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        build_features(network, **options)


def test_no_such_stage() -> None:
    with pytest.raises(ValueError, match="no stage 6"):
        modules_until(build_features("fairnas_c"), 6)
