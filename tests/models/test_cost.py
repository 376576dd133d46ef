"""Parameters and multiply-adds: the published numbers, and what real modules do to a tensor."""

from __future__ import annotations

import json
from collections.abc import Iterator

import numpy as np
import pytest
import torch
from fairnas.models import PUBLISHED, Architecture, Cost, SearchSpace, build_network, get_space, list_spaces
from fairnas.models.spaces.mobile.networks import Network
from fairnas.pipeline.cli import app as cli

from . import trace

# Counted from the published tables by a counter that gives MobileNetV2 its 3,504,872 parameters.
PLAIN = {
    "fairnas_a": (4_651_352, 388.123),
    "fairnas_b": (4_506_272, 345.298),
    "fairnas_c": (4_397_864, 321.025),
    "a-all-E3K3": (2_601_416, 171.50),
    "a-all-E6K7": (3_789_032, 376.79),
    "b-all-E3K3": (3_189_080, 247.13),
    "b-all-E6K7": (5_090_024, 557.41),
}
SQUEEZED = {
    "fairnas_a_se": (7_103_512, 390.56),
    "fairnas_b_se": (6_871_432, 347.65),
    "fairnas_c_se": (6_697_720, 323.32),
    "fairnas_a_se050": (5_881_920, 389.34),
    "fairnas_b_se050": (5_693_040, 346.48),
    "fairnas_c_se050": (5_551_776, 322.17),
}
COUNTS = PLAIN | SQUEEZED

# With a classifier for 10 classes: the numbers in the README of the authors' code.
TEN_CLASSES = {
    "fairnas_a_se": 5_835_322,
    "fairnas_b_se": 5_603_242,
    "fairnas_c_se": 5_429_530,
    "fairnas_a_se050": 4_613_730,
    "fairnas_b_se050": 4_424_850,
    "fairnas_c_se050": 4_283_586,
}


def architecture_of(name: str) -> Architecture:
    if name in PUBLISHED:
        return PUBLISHED[name]
    space, _, choice = name.split("-")
    return get_space(space).uniform(choice)


@pytest.fixture(scope="module", autouse=True)
def _uninitialised() -> Iterator[None]:
    """Meta tensors hold no values: half of the time to build a network would go into initialising them."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(torch.nn.init, "normal_", lambda tensor, *_, **__: tensor)
        patch.setattr(torch.nn.init, "kaiming_uniform_", lambda tensor, *_, **__: tensor)
        yield


def on_meta(architecture: Architecture, width: float = 1.0, num_classes: int = 1000, in_chans: int = 3) -> Network:
    with torch.device("meta"):
        return build_network(architecture, width=width, num_classes=num_classes, in_chans=in_chans).eval()


def arithmetic(architecture: Architecture, resolution: int, width: float = 1.0, num_classes: int = 1000) -> Cost:
    return get_space(architecture.space).scaled(width).cost(architecture, resolution, num_classes)


@pytest.mark.parametrize("name", COUNTS)
def test_published_counts(name: str) -> None:
    params, millions = COUNTS[name]
    cost = arithmetic(architecture_of(name), 224)
    assert cost.params == params
    # As many digits as the source gives.
    assert round(cost.madds / 1e6, 3 if name in ("fairnas_a", "fairnas_b", "fairnas_c") else 2) == millions


@pytest.mark.parametrize("name", COUNTS)
def test_the_real_module_has_the_published_counts(name: str) -> None:
    cost = trace.whole(on_meta(architecture_of(name)), 224)
    assert cost.params == COUNTS[name][0]
    assert cost == arithmetic(architecture_of(name), 224)


@pytest.mark.parametrize("name", TEN_CLASSES)
def test_squeezed_networks_for_ten_classes(name: str) -> None:
    assert arithmetic(PUBLISHED[name], 224, num_classes=10).params == TEN_CLASSES[name]


def test_models_json_lists_every_network_with_its_counts(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sys.argv", ["fairnas", "models", "--json"])
    with pytest.raises(SystemExit) as stopped:
        cli.main()
    assert stopped.value.code == 0
    rows = json.loads(capsys.readouterr().out)
    hard = {f"{name}_hswish": counts for name, counts in SQUEEZED.items()}
    listed = COUNTS | hard
    assert {row["name"]: row["params"] for row in rows} == {name: params for name, (params, _) in listed.items()}
    by_name = {row["name"]: row for row in rows}
    assert [by_name[f"fairnas_{letter}"]["madds_m"] for letter in "abc"] == [388.123, 345.298, 321.025]
    for name, row in by_name.items():
        assert round(row["madds"] / 1e6, 2) == round(listed[name][1], 2)
        assert row["madds_m"] == round(row["madds"] / 1e6, 3)
        assert (row["resolution"], row["classes"]) == (224, 1000)
        assert Architecture.parse(row["architecture"]) == architecture_of(name)
        assert row["se_ratio"] == (0.5 if "_se050" in name else 1.0 if "_se" in name else 0.0)


@pytest.mark.parametrize("space_name", list_spaces())
def test_arithmetic_equals_the_trace_of_200_random_networks(space_name: str) -> None:
    space, rng, tracer = get_space(space_name), np.random.default_rng(1), trace.Tracer()
    drawn = {space.sample(rng) for _ in range(200)}
    assert len(drawn) == 200
    for architecture in drawn:
        network = on_meta(architecture)
        assert tracer.cost(network, 224) == arithmetic(architecture, 224), architecture


@pytest.mark.parametrize("space_name", list_spaces())
# 0.2625 of 40 channels: 10.5 or a little less, depending on the order of the operations.
@pytest.mark.parametrize(("width", "se_ratio"), [(0.5, 0.0), (1.0, 0.5), (0.5, 1.0), (0.25, 0.1), (1.0, 0.2625)])
def test_arithmetic_equals_the_trace_at_other_sizes(space_name: str, width: float, se_ratio: float) -> None:
    space, tracer, rng = get_space(space_name), trace.Tracer(), np.random.default_rng(0)
    # 33 leaves odd sizes to halve.
    sizes = (224, 96, 64, 33) if se_ratio == 0 else (64, 33)
    for _ in range(10 if se_ratio == 0 else 2):
        architecture = space.sample(rng).with_se(se_ratio)
        network = on_meta(architecture, width, num_classes=10)
        for resolution in sizes:
            expected = arithmetic(architecture, resolution, width, num_classes=10)
            assert tracer.cost(network, resolution) == expected, (architecture, resolution)


@pytest.mark.parametrize("space_name", list_spaces())
def test_block_by_block_tracing_equals_one_forward_pass(space_name: str) -> None:
    space = get_space(space_name)
    for seed, se_ratio in ((0, 0.0), (1, 1.0)):
        network = on_meta(space.sample(np.random.default_rng(seed)).with_se(se_ratio), 0.5)
        assert trace.Tracer().cost(network, 96) == trace.whole(network, 96)


def test_grey_images_only_change_the_stem() -> None:
    architecture = PUBLISHED["fairnas_a"]
    expected = get_space("b").cost(architecture, 64, 10, in_channels=1)
    assert trace.whole(on_meta(architecture, num_classes=10, in_chans=1), 64, in_channels=1) == expected
    assert arithmetic(architecture, 64, num_classes=10).params - expected.params == 2 * 9 * 32


@pytest.mark.parametrize("space", [get_space(name).scaled(width) for name in list_spaces() for width in (1.0, 0.5)])
def test_every_block_equals_its_real_module(space: SearchSpace) -> None:
    """Block by block, so that two errors in a network cannot cancel out."""
    for index in range(len(space.choices)):
        architecture = space.uniform(index)
        network = on_meta(architecture, space.width)
        modules = [
            torch.nn.Sequential(network.get_submodule("conv_stem"), network.get_submodule("bn1")),
            *(block for stage in network.get_submodule("blocks").children() for block in stage.children()),
            torch.nn.Sequential(network.get_submodule("conv_head"), network.get_submodule("bn2")),
            torch.nn.Sequential(network.get_submodule("global_pool"), network.get_submodule("classifier")),
        ]
        features = torch.empty(1, 3, 64, 64, device="meta")
        blocks = space.blocks(architecture, 64)
        assert len(blocks) == len(modules)
        for block, module in zip(blocks, modules, strict=True):
            assert features.shape[1:] == (block.in_channels, block.resolution, block.resolution)
            madds, features = trace.run(module, features)
            assert block.cost == Cost(trace.parameters(module), madds), block.signature
            assert features.shape[1] == block.out_channels
            if block.kind != "classifier":
                assert features.shape[2] == block.out_resolution


def test_the_space_has_as_many_distinct_blocks_as_random_networks_show() -> None:
    for name in list_spaces():
        space, rng = get_space(name), np.random.default_rng(0)
        seen = {block for _ in range(300) for block in space.blocks(space.sample(rng), 224)}
        assert seen == set(space.all_blocks(224))
        assert len({block.signature for block in seen}) == len(seen)
