"""Hard-Swish variants: text, cost and weights of the Swish networks, and other activations."""

from __future__ import annotations

import pytest
import torch
from fairnas.models import PUBLISHED, Architecture, build_network, get_space

from . import trace

NAMES = [name for name in PUBLISHED if name.endswith("_hswish")]


def test_every_network_with_swish_has_its_hard_variant() -> None:
    assert NAMES
    assert {name.removesuffix("_hswish") for name in NAMES} == {
        name for name, architecture in PUBLISHED.items() if architecture.se_ratio and not architecture.hard_swish
    }
    for name in NAMES:
        assert PUBLISHED[name] == PUBLISHED[name.removesuffix("_hswish")].with_hard_swish()


@pytest.mark.parametrize("name", NAMES)
def test_text_round_trips(name: str) -> None:
    text = str(PUBLISHED[name])
    assert text == f"{PUBLISHED[name.removesuffix('_hswish')]}+hswish"
    assert Architecture.parse(text) == PUBLISHED[name]


def test_without_swish_there_is_none_to_harden() -> None:
    plain = PUBLISHED["fairnas_a"]
    with pytest.raises(ValueError, match="there is none"):
        plain.with_hard_swish()
    for damaged in (f"{plain}+hswish", f"{plain}+hswish+se1", f"{plain}+se1+hswish+hswish"):
        with pytest.raises(ValueError, match="is not an architecture"):
            Architecture.parse(damaged)
    assert PUBLISHED["fairnas_a_se_hswish"].with_se(0) == plain
    assert PUBLISHED["fairnas_a_se_hswish"].with_se(0.5) == PUBLISHED["fairnas_a_se050_hswish"]


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("width", [1.0, 0.5])
def test_cost_is_that_of_swish_and_of_a_trace(name: str, width: float) -> None:
    space = get_space("b").scaled(width)
    with torch.device("meta"):
        network = build_network(PUBLISHED[name], width=width, num_classes=10).eval()
    cost = space.cost(PUBLISHED[name], 64, 10)
    assert cost == trace.whole(network, 64)
    assert cost == space.cost(PUBLISHED[name.removesuffix("_hswish")], 64, 10)


def test_only_the_searched_layers_differ_in_their_signature() -> None:
    hard, soft = (get_space("b").blocks(PUBLISHED[name], 64) for name in ("fairnas_c_se_hswish", "fairnas_c_se"))
    for one, other in zip(hard, soft, strict=True):
        searched = one.kind == "mbconv"
        assert (one.signature != other.signature) == searched
        assert one.signature.endswith("-se1-hswish") == searched
        assert one.cost == other.cost


def test_weights_fit_both() -> None:
    torch.manual_seed(0)
    soft, hard = (
        build_network(PUBLISHED[name], width=0.25, num_classes=10) for name in ("fairnas_c_se", "fairnas_c_se_hswish")
    )
    hard.load_state_dict(soft.state_dict(), strict=True)
    soft.load_state_dict(hard.state_dict(), strict=True)
    images = torch.randn(8, 3, 32, 32)
    with torch.inference_mode():
        first, other = (network.train()(images) for network in (soft, hard))  # with the batch's own statistics
    assert not torch.equal(first, other)
    assert first.isfinite().all()
    assert other.isfinite().all()


def test_swish_and_sigmoid_are_hard_and_nothing_else_changes() -> None:
    kinds = [
        {name: type(module).__name__ for name, module in build_network(PUBLISHED[network]).named_modules()}
        for network in ("fairnas_a_se", "fairnas_a_se_hswish")
    ]
    assert kinds[0].keys() == kinds[1].keys()
    changed = {(kinds[0][name], kinds[1][name]) for name in kinds[0] if kinds[0][name] != kinds[1][name]}
    assert changed == {("SiLU", "Hardswish"), ("Sigmoid", "Hardsigmoid")}
