"""Architectures and spaces as data: text that round-trips, and what is refused."""

from __future__ import annotations

import re

import numpy as np
import pytest
from fairnas.models import PUBLISHED, Architecture, Choice, get_space, list_spaces, parse_network
from hypothesis import assume, given
from hypothesis import strategies as st

NAMES = ["E3K3", "E3K5", "E3K7", "E6K3", "E6K5", "E6K7"]
FORM = re.compile(r"[ab]:E[36]K[357](-E[36]K[357])*(\+se(0\.\d{1,4}|[01](\.\d{1,4})?)(\+hswish)?)?")


@st.composite
def architectures(draw: st.DrawFn) -> Architecture:
    space = get_space(draw(st.sampled_from(["a", "b"])))
    layers = len(space.layers)
    choices = draw(st.lists(st.integers(0, 5), min_size=layers, max_size=layers))
    # Ratios are written by people: 0 for none, else up to four digits.
    ratio = draw(st.just(0) | st.integers(1_000, 10_000)) / 10_000
    architecture = space.architecture(choices, ratio)
    return architecture.with_hard_swish() if ratio and draw(st.booleans()) else architecture


@given(architectures())
def test_text_round_trips(architecture: Architecture) -> None:
    text = str(architecture)
    assert FORM.fullmatch(text)
    assert Architecture.parse(text) == architecture
    assert parse_network(f" {text}\n") == architecture


@given(
    architectures(),
    st.integers(0, 200),
    st.sampled_from(["", "-", "E", "E3K3", "-E3K3", ":", "+se", "+hswish", "7", "é", "\n"]),
)
def test_damaged_text_is_refused_in_one_line_or_means_what_it_says(
    architecture: Architecture, place: int, wrong: str
) -> None:
    text = str(architecture)
    damaged = text[:place] + wrong + text[place + 1 :]
    try:
        parsed = Architecture.parse(damaged)
    except ValueError as error:
        message = str(error)
    else:
        assert FORM.fullmatch(damaged.strip()), damaged
        assert Architecture.parse(str(parsed)) == parsed
        return
    assert "\n" not in message.replace(damaged, "")


@given(st.text(max_size=60))
def test_any_other_text_is_refused(text: str) -> None:
    assume(not FORM.fullmatch(text.strip()))
    with pytest.raises(ValueError, match=r".+"):
        Architecture.parse(text)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "'' is not an architecture: expected something like b:E3K7-E3K3-..."),
        ("E3K3-E3K3", "'E3K3-E3K3' is not an architecture"),
        ("z:" + "-".join(["E3K3"] * 19), "unknown search space 'z': choose from a, b"),
        ("b:E3K3", "'b:E3K3' names 1 blocks; space b has 19 layers"),
        ("a:" + "-".join(["E3K3"] * 19), "names 19 blocks; space a has 16 layers"),
        ("b:" + "-".join(["E3K3"] * 18 + ["E4K3"]), "space b has no choice block 'E4K3': choose from E3K3, E3K5"),
        ("b:" + "-".join(["E3K3"] * 18 + ["K3E3"]), "space b has no choice block 'K3E3'"),
        ("b:" + "-".join(["E3K3"] * 19) + "+se2", "ratio must be 0 or lie between 0.1 and 1"),
        ("b:" + "-".join(["E3K3"] * 19) + "+se0.05", "ratio must be 0 or lie between 0.1 and 1"),
        ("b:" + "-".join(["E3K3"] * 19) + "+se0.12345", "is not an architecture"),
        ("b:" + "-".join(["E3K3"] * 19) + "+se-1", "is not an architecture"),
        ("b:" + "-".join(["E3K3"] * 19) + "+senan", "is not an architecture"),
        ("../b:" + "-".join(["E3K3"] * 19), "is not an architecture"),
    ],
)
def test_refusals_say_what_is_wrong(text: str, message: str) -> None:
    with pytest.raises(ValueError, match=re.escape(message)):
        Architecture.parse(text)


def test_networks_go_by_name_or_by_text() -> None:
    for name, architecture in PUBLISHED.items():
        assert parse_network(name) == architecture
        assert parse_network(str(architecture)) == architecture
    with pytest.raises(ValueError, match="unknown network 'fairnas_d': choose from fairnas_a, "):
        parse_network("fairnas_d")


def test_published_networks_are_those_of_the_paper() -> None:
    # Read from the supplement's figure as stages; consecutive equal blocks, expansion kernel.
    assert str(PUBLISHED["fairnas_a"]) == (
        "b:E3K7-E3K3-E3K7-E6K3-E6K7-E3K3-E3K3-E6K7-E6K7-E3K5-E6K3-E3K5-E3K5-E6K3-E6K3-E6K7-E6K3-E6K7-E6K5"
    )
    assert {name.removesuffix("_hswish").removesuffix("_se").removesuffix("_se050") for name in PUBLISHED} == {
        "fairnas_a",
        "fairnas_b",
        "fairnas_c",
    }
    for letter in "abc":
        plain = PUBLISHED[f"fairnas_{letter}"]
        assert plain.se_ratio == 0
        assert PUBLISHED[f"fairnas_{letter}_se"] == plain.with_se(1.0)
        assert PUBLISHED[f"fairnas_{letter}_se050"] == plain.with_se(0.5)


def test_sizes_and_layouts_of_the_spaces() -> None:
    assert list_spaces() == ["a", "b"]
    a, b = get_space("a"), get_space("b")
    assert (a.size, b.size) == (2_821_109_907_456, 609_359_740_010_496)
    assert [str(choice) for choice in b.choices] == [str(choice) for choice in a.choices] == NAMES
    assert [layer.out_channels for layer in a.layers] == [24] * 2 + [32] * 3 + [64] * 4 + [96] * 3 + [160] * 3 + [320]
    assert [layer.out_channels for layer in b.layers] == [32] * 2 + [40] * 4 + [80] * 4 + [96] * 4 + [192] * 4 + [320]
    assert [i for i, layer in enumerate(a.layers, 1) if layer.stride == 2] == [1, 3, 6, 13]
    assert [i for i, layer in enumerate(b.layers, 1) if layer.stride == 2] == [1, 3, 7, 15]
    for space in (a, b):
        assert (space.stem_channels, space.separable_channels, space.head_channels) == (32, 16, 1280)
        inputs = [layer.in_channels for layer in space.layers]
        assert inputs == [16] + [layer.out_channels for layer in space.layers[:-1]]


def test_an_unknown_space_is_named() -> None:
    with pytest.raises(ValueError, match="unknown search space 'c': choose from a, b"):
        get_space("c")


def test_scaling_multiplies_channels_and_nothing_else() -> None:
    space = get_space("b")
    half = space.scaled(0.5)
    assert [layer.out_channels for layer in half.layers] == (
        [16] * 2 + [24] * 4 + [40] * 4 + [48] * 4 + [96] * 4 + [160]
    )
    assert (half.stem_channels, half.separable_channels, half.head_channels, half.width) == (16, 8, 640, 0.5)
    assert [layer.stride for layer in half.layers] == [layer.stride for layer in space.layers]
    assert half.choices == space.choices
    assert half.scaled(0.5) == half
    assert space.scaled(1.0) is space
    quarter = space.scaled(0.25)
    assert all(layer.out_channels % 8 == 0 for layer in quarter.layers)


def test_random_architectures_are_uniform_and_follow_the_generator() -> None:
    space = get_space("b")
    drawn = [space.sample(np.random.default_rng(5)) for _ in range(2)]
    assert drawn[0] == drawn[1]
    rng = np.random.default_rng(6)
    counts = np.zeros((19, 6))
    for _ in range(6000):
        counts[np.arange(19), space.sample(rng).choices] += 1
    # 5 degrees of freedom and 19 layers: 25.7 is exceeded once in 10,000 layers.
    assert (((counts - 1000) ** 2 / 1000).sum(axis=1) < 25.7).all()


@given(st.integers(0, 20), st.integers(0, 20))
def test_choices_round_trip(expansion: int, kernel: int) -> None:
    assert Choice.parse(str(Choice(expansion, kernel))) == Choice(expansion, kernel)


def test_a_uniform_architecture_goes_by_name_or_index() -> None:
    space = get_space("a")
    assert space.uniform("E6K5") == space.uniform(4) == space.architecture([4] * 16)
    with pytest.raises(ValueError, match="'K3' is not a choice block: expected something like E3K7"):
        space.uniform("K3")
