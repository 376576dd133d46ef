"""Prices: sums of measurements, or the shipped Pixel 1 formula, and what neither can price."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from fairnas.latency_tables import BlockLatency, Calibration, LatencyError, LatencyTable, Predictor, load_table
from fairnas.latency_tables.table import NetworkLatency
from fairnas.models import PUBLISHED, Block, get_space

SPACE = get_space("b")


def _measured(blocks: dict[str, BlockLatency]) -> LatencyTable:
    return LatencyTable(
        schema_version=1,
        name="bench",
        kind="measured",
        device={"name": "a CPU"},
        runtime="r",
        created="now",
        source="s",
        blocks=blocks,
    )


@pytest.fixture(scope="module")
def pixel() -> Predictor:
    return Predictor(load_table("pixel1"))


def test_a_measured_network_costs_the_sum_of_its_blocks() -> None:
    blocks = SPACE.blocks(SPACE.uniform("E3K5"), 64, 10)
    table = _measured({block.signature: BlockLatency.of([i + 2.0, i + 1.0]) for i, block in enumerate(blocks)})
    # Equal signatures share the entry written last.
    expected = sum(table.blocks[block.signature].latency_ms for block in blocks)
    prediction = Predictor(table).predict(blocks)
    assert prediction.latency_ms == pytest.approx(expected)
    assert not prediction.extrapolated


def test_a_calibrated_network_costs_its_blocks_times_the_slope_and_the_intercept_once() -> None:
    blocks = SPACE.blocks(SPACE.uniform("E3K5"), 64, 10)
    plain = _measured({block.signature: BlockLatency.of([i + 1.0]) for i, block in enumerate(blocks)})
    calibration = Calibration(intercept_ms=7, slope=1.5, networks=[NetworkLatency(sum_ms=2, measured_ms=10)])
    before, after = Predictor(plain), Predictor(plain.model_copy(update={"calibration": calibration}))
    assert (before.fixed_ms, after.fixed_ms) == (0, 7)
    for block in blocks:
        assert after.price(block).latency_ms == pytest.approx(1.5 * before.price(block).latency_ms)
    assert after.predict(blocks).latency_ms == pytest.approx(7 + 1.5 * before.predict(blocks).latency_ms)


def test_a_measured_table_names_itself_and_the_block_it_lacks() -> None:
    table = _measured({"x": BlockLatency.of([1.0])})
    with pytest.raises(LatencyError, match="table bench has no measurement of block mbconv-16x8-16-s1-k3-e3-relu6"):
        Predictor(table).price(Block("mbconv", 16, 16, 8, 1, 3, 3))


@pytest.mark.parametrize("name", ["fairnas_a_se", "fairnas_b_se050"])
def test_the_pixel_table_refuses_squeeze_and_excitation_in_one_line(pixel: Predictor, name: str) -> None:
    with pytest.raises(LatencyError) as caught:
        pixel.predict(SPACE.blocks(PUBLISHED[name], 224))
    assert "pixel1" in str(caught.value)
    assert "se" in str(caught.value)
    assert SPACE.blocks(PUBLISHED[name], 224)[2].signature in str(caught.value)
    assert "\n" not in str(caught.value)


def test_swish_alone_is_refused_too(pixel: Predictor) -> None:
    with pytest.raises(LatencyError, match="pixel1 cannot price block mbconv-24x56-24-s1-k3-e3-swish"):
        pixel.price(Block("mbconv", 24, 24, 56, 1, 3, 3, activation="swish"))


def test_measured_pixel_blocks_are_close_and_not_extrapolated(pixel: Predictor) -> None:
    # Means published with ProxylessNAS, in ms.
    measured = {
        Block("mbconv", 40, 40, 28, 1, 7, 6): 8.37698820754717,
        Block("mbconv", 192, 320, 7, 1, 7, 6): 5.8280783132530125,
        Block("mbconv", 24, 24, 56, 1, 5, 6): 14.13131904761905,
        Block("sepconv", 32, 16, 112, 1, 3): 3.8821352201257864,
        Block("conv", 3, 32, 224, 2, 3): 4.083755600814664,
        Block("classifier", 1280, 1000, 7, activation="none"): 0.3096415478615071,
    }
    for block, latency_ms in measured.items():
        price = pixel.price(block)
        assert price.latency_ms == pytest.approx(latency_ms, rel=0.1), block.signature
        assert not price.extrapolated


@pytest.mark.parametrize(
    ("change", "extrapolated"),
    [
        ({}, False),
        ({"resolution": 56}, False),
        ({"resolution": 57}, True),
        ({"resolution": 6}, True),
        ({"kernel": 9}, True),
        ({"expansion": 2}, True),
        ({"in_channels": 16}, True),
        ({"out_channels": 321}, True),
        ({"stride": 3}, True),
        ({"in_channels": 192, "resolution": 56, "expansion": 6}, True),  # each within its range, the tensor is not
    ],
)
def test_sizes_outside_the_measured_ones_are_extrapolated(pixel: Predictor, change: dict, extrapolated: bool) -> None:
    block = replace(Block("mbconv", 40, 40, 28, 1, 5, 3), **change)
    assert pixel.price(block).extrapolated is extrapolated


def test_one_extrapolated_block_marks_the_network(pixel: Predictor) -> None:
    assert not pixel.predict(SPACE.blocks(PUBLISHED["fairnas_a"], 224)).extrapolated
    assert pixel.predict(SPACE.blocks(PUBLISHED["fairnas_a"], 224, num_classes=10)).extrapolated


def test_published_networks_take_tens_of_milliseconds_in_the_order_of_their_madds(pixel: Predictor) -> None:
    a, b, c = (pixel.predict(SPACE.blocks(PUBLISHED[f"fairnas_{letter}"], 224)).latency_ms for letter in "abc")
    assert 60 < c < b < a < 140


@pytest.mark.parametrize("width", [0.5, 1.0])
def test_prices_are_positive_and_grow_with_kernel_expansion_and_resolution(pixel: Predictor, width: float) -> None:
    for resolution in (32, 64, 224):
        for block in SPACE.scaled(width).all_blocks(resolution, 10):
            price = pixel.price(block).latency_ms
            assert price > 0
            if block.kind == "mbconv":
                assert pixel.price(replace(block, kernel=block.kernel + 2)).latency_ms > price
                assert pixel.price(replace(block, expansion=block.expansion + 1)).latency_ms > price
            if block.kind != "classifier":
                assert pixel.price(replace(block, resolution=block.resolution + block.stride)).latency_ms > price


def test_features_this_version_does_not_know_are_refused() -> None:
    table = load_table("pixel1")
    assert table.model
    model = table.model.model_copy(update={"coefficients": {"lunar_phase": 1.0}})
    with pytest.raises(LatencyError, match="pixel1 prices 'lunar_phase'"):
        Predictor(table.model_copy(update={"model": model}))


def test_a_block_that_was_priced_before_is_only_looked_up(pixel: Predictor) -> None:
    blocks = SPACE.blocks(SPACE.sample(np.random.default_rng(0)), 64)
    first = pixel.price(blocks[5])
    assert pixel.price(replace(blocks[5])) is first
