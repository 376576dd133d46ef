"""NAS-Bench-Macro and NAS-Bench-201: published counts, and supernets whose paths are the benchmark's networks."""

from __future__ import annotations

from typing import Any, cast

import numpy as np
import pytest
import torch
from fairnas.models import (
    BENCHMARKS,
    Architecture,
    BenchmarkSpace,
    LayeredSupernet,
    MacroSpace,
    NasBench201Space,
    NasBench201Supernet,
    any_space,
    build_supernet,
    get_space,
)
from torch import nn
from torch.nn import functional

# Parameters and multiply-adds of some networks, as the benchmarks' own files state them.
MACRO = {
    "00000000": (387_882, 7_713_280),
    "00000002": (1_219_370, 20_910_592),
    "00000011": (1_195_306, 20_517_376),
    "00000012": (1_623_082, 27_312_640),
}
NASBENCH201 = {
    "421211": (129_306, 15_647_360),
    "334131": (802_426, 113_951_360),
    "433444": (559_386, 78_561_920),
    "410001": (73_306, 7_783_040),
    "333333": (1_531_546, None),
}


def space(name: str) -> BenchmarkSpace:
    found = any_space(name)
    assert isinstance(found, BenchmarkSpace)
    return found


@pytest.mark.parametrize(
    ("name", "digits", "expected"),
    [("macro", *item) for item in MACRO.items()] + [("nasbench201", *item) for item in NASBENCH201.items()],
)
def test_counts_equal_the_benchmarks_own(name: str, digits: str, expected: tuple[int, int | None]) -> None:
    cost = space(name).cost(space(name).from_digits(digits))
    assert cost.params == expected[0]
    assert expected[1] in (None, cost.madds)


@pytest.mark.parametrize("name", BENCHMARKS)
@pytest.mark.parametrize("width", [1.0, 0.5])
def test_what_a_path_trains_is_what_its_network_has(name: str, width: float) -> None:
    """A path's gradient reaches as many weights as the arithmetic counts, and each of its convolutions runs once."""
    place = space(name).scaled(width)
    torch.manual_seed(0)
    supernet = build_supernet(place, num_classes=7).train()
    images, labels = torch.randn(4, 3, 32, 32), torch.randint(7, (4,))
    rng = np.random.default_rng(0)
    chosen = [place.sample(rng) for _ in range(12)]
    if isinstance(place, NasBench201Space):
        # Operations that lead nowhere have weights, but no gradient.
        chosen = [place.uniform("nor_conv_3x3"), place.uniform("nor_conv_1x1"), place.from_digits("333114")]
    for architecture in chosen:
        supernet.zero_grad(set_to_none=True)
        madds: list[int] = []

        def count(module: nn.Module, _: Any, output: Any, madds: list[int] = madds) -> None:
            assert isinstance(module, nn.Conv2d | nn.Linear)
            madds.append(module.weight.numel() * output[0, 0].numel())

        hooks = [
            module.register_forward_hook(count)
            for module in supernet.modules()
            if isinstance(module, nn.Conv2d | nn.Linear)
        ]
        functional.cross_entropy(supernet(images, architecture.choices), labels).backward()
        for hook in hooks:
            hook.remove()
        cost = place.cost(architecture, 32, 7)
        assert sum(p.numel() for p in supernet.parameters() if p.grad is not None) == cost.params
        assert sum(madds) == cost.madds


def test_an_edge_that_carries_nothing_gives_no_gradient() -> None:
    place = space("nasbench201")
    supernet = build_supernet(place, num_classes=3).train()
    images, labels = torch.randn(4, 3, 16, 16), torch.tensor([0, 1, 2, 0])
    # Edge 2-3 is none, so what edges 0-2 and 1-2 compute is used by nothing.
    functional.cross_entropy(supernet(images, place.from_digits("333330").choices), labels).backward()
    reached = {name for name, parameter in supernet.named_parameters() if parameter.grad is not None}
    assert any(name.startswith("cells.0.edges.0.3") for name in reached)
    assert not any(name.startswith(("cells.0.edges.1.", "cells.0.edges.2.", "cells.0.edges.5.")) for name in reached)


def test_disconnected_cells_are_known() -> None:
    place = any_space("nasbench201")
    assert isinstance(place, NasBench201Space)
    digits = [f"{index:0>6}" for index in (np.base_repr(n, 5) for n in range(place.size))]
    assert sum(not place.is_connected(place.from_digits(text)) for text in digits) == 341
    assert place.is_connected(place.from_digits("000100"))
    assert not place.is_connected(place.from_digits("330000"))


def test_a_disconnected_network_still_answers_and_learns_its_bias() -> None:
    place = space("nasbench201")
    supernet = build_supernet(place, num_classes=3).train()
    logits = supernet(torch.randn(4, 3, 16, 16), place.uniform("none").choices)
    assert torch.allclose(logits[0], logits[1])
    functional.cross_entropy(logits, torch.tensor([0, 1, 2, 0])).backward()
    bias = supernet.get_parameter("head.4.bias")
    assert bias.grad is not None


@pytest.mark.parametrize("name", BENCHMARKS)
def test_a_set_of_choices_is_the_mean_of_their_outputs(name: str) -> None:
    place = space(name)
    supernet = build_supernet(place, num_classes=3).train()
    images = torch.randn(4, 3, 16, 16)
    path = list(place.uniform(1).choices)
    alone = supernet(images, path)
    assert torch.equal(supernet(images, [(choice,) for choice in path]), alone)
    assert torch.allclose(supernet(images, [(choice, choice) for choice in path]), alone, atol=1e-5)
    assert not torch.allclose(supernet(images, [(1, 2)] * len(path)), alone, atol=1e-3)


def test_the_mean_over_a_layer_equals_the_mean_by_hand() -> None:
    supernet = build_supernet(any_space("macro"), num_classes=3).eval()
    assert isinstance(supernet, LayeredSupernet)
    images = torch.randn(2, 3, 16, 16)
    first, *later = (list(candidates.children()) for candidates in supernet.layers)
    features = supernet.stem(images)
    features = (first[0](features) + first[2](features)) / 2
    for candidates in later:
        features = candidates[0](features)
    path = [(0, 2), *[(0,)] * len(later)]
    assert torch.allclose(supernet(images, path), supernet.head(features), atol=1e-5)


@pytest.mark.parametrize("name", BENCHMARKS)
def test_texts_round_trip(name: str) -> None:
    rng = np.random.default_rng(3)
    for architecture in (space(name).sample(rng) for _ in range(50)):
        assert Architecture.parse(str(architecture)) == architecture


@pytest.mark.parametrize("digits", ["0000000", "000000000", "00000003", "0000000x", "", "٣0000000"])
def test_what_is_not_an_architecture_is_refused(digits: str) -> None:
    with pytest.raises(ValueError, match="expected 8 digits from 0 to 2"):
        space("macro").from_digits(digits)


def test_a_benchmark_is_no_space_to_deploy() -> None:
    with pytest.raises(ValueError, match="to search and deploy, choose from a, b"):
        get_space("macro")
    with pytest.raises(ValueError, match="unknown search space 'c': choose from a, b, macro, nasbench201"):
        any_space("c")
    with pytest.raises(ValueError, match="has no squeeze-and-excitation"):
        Architecture.parse("macro:I-I-I-I-I-I-I-I+se1")


def test_reductions_double_the_channels_of_macro() -> None:
    place = any_space("macro")
    assert isinstance(place, MacroSpace)
    first, second, third = [(32, 64, 2), (64, 64, 1)], [(64, 128, 2)] + [(128, 128, 1)] * 2, [(128, 256, 2)]
    assert [place.place(layer) for layer in range(8)] == [*first, *second, *third, (256, 256, 1), (256, 256, 1)]


def test_a_shortened_nasbench201_keeps_its_cells_and_costs_what_its_network_has() -> None:
    space = cast(NasBench201Space, any_space("nasbench201")).shortened(2).scaled(0.5)
    supernet = NasBench201Supernet(space, 10)
    shared = sum(parameter.numel() for parameter in supernet.shared_parameters())
    every = sum(parameter.numel() for parameter in supernet.parameters())
    costs = [space.cost(space.uniform(index), 32, 10).params for index in range(len(space.choices))]
    # Uniform networks share nothing but what all networks do, and together have all candidates.
    assert sum(cost - shared for cost in costs) == every - shared
    assert len(supernet.cells) == 3 * 2 + 2
