"""Prices: sums of measurements, or the shipped Pixel 1 formula, and what neither can price."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
from fairnas.latency_tables import (
    BlockLatency,
    Calibration,
    LatencyError,
    LatencyTable,
    Predictor,
    Sample,
    Validation,
    load_table,
)
from fairnas.latency_tables.block_features import block_sizes, size_group
from fairnas.latency_tables.predictor import UNCHECKED_ERROR
from fairnas.latency_tables.table import SCHEMA_VERSION
from fairnas.latency_tables.table_parts import FittedModel, NetworkFactor, NetworkLatency
from fairnas.models import PUBLISHED, Block, get_space

SPACE = get_space("b")


NETWORK = SPACE.blocks(SPACE.uniform("E3K5"), 64, 10)
PAIRS = [NetworkLatency(sum_ms=2, measured_ms=10)]


def _latency(warm_ms: float, cold_ms: float = 100.0) -> BlockLatency:
    return BlockLatency.of([Sample("block", 0, cold_ms, warm_ms), Sample("block", 1, cold_ms + 1, warm_ms + 1)])


def _measured(blocks: dict[str, BlockLatency]) -> LatencyTable:
    return LatencyTable(
        schema_version=SCHEMA_VERSION,
        name="bench",
        kind="measured",
        device={"name": "a CPU"},
        runtime="r",
        created="2026-12-01T00:00:00+00:00",
        source="s",
        blocks=blocks,
    )


@pytest.fixture(scope="module")
def pixel() -> Predictor:
    return Predictor(load_table("pixel1"))


def _measured_network() -> LatencyTable:
    """A table of `NETWORK`'s blocks: 1 ms, 2 ms and so on in their order, and 10 times that when cold."""
    names = dict.fromkeys(block.signature for block in NETWORK)
    return _measured({name: _latency(place + 1.0, 10 * (place + 1.0)) for place, name in enumerate(names)})


def test_a_measured_network_costs_the_sum_of_its_blocks() -> None:
    table = _measured_network()
    expected = sum(table.blocks[block.signature].latency_ms for block in NETWORK)
    prediction = Predictor(table).predict(NETWORK)
    assert prediction.latency_ms == pytest.approx(expected)
    assert not prediction.extrapolated


@pytest.mark.parametrize("cold_share", [0.0, 0.5, 1.0])
def test_a_calibrated_network_costs_its_blocks_times_the_slope_and_the_intercept_once(cold_share: float) -> None:
    plain = _measured_network()
    calibration = Calibration(intercept_ms=7, slope=1.5, cold_share=cold_share, networks=PAIRS)
    before, after = Predictor(plain), Predictor(plain.model_copy(update={"calibration": calibration}))
    assert (before.fixed_ms, after.fixed_ms) == (0, 7)
    factor = 1.5 * (1 - cold_share + 10 * cold_share)
    for block in NETWORK:
        assert after.price(block).latency_ms == pytest.approx(factor * before.price(block).latency_ms)
    assert after.predict(NETWORK).latency_ms == pytest.approx(7 + factor * before.predict(NETWORK).latency_ms)


# Intervals.


@pytest.mark.parametrize(
    ("validated", "loo", "error"),
    [(0.03, 0.07, 0.03), (0.0, 0.07, 0.0), (None, 0.07, 0.07), (None, None, UNCHECKED_ERROR)],
)
def test_the_interval_of_a_measured_table_is_the_best_known_error_of_whole_networks(
    validated: float | None, loo: float | None, error: float
) -> None:
    calibration = Calibration(intercept_ms=1, slope=1.5, networks=PAIRS, loo_p90=loo)
    table = _measured_network().model_copy(
        update={"calibration": calibration, "validation": Validation(by="test", n=3, p90=validated)}
    )
    prediction = Predictor(table).predict(NETWORK)
    assert prediction.low_ms == pytest.approx(prediction.latency_ms * (1 - error))
    assert prediction.high_ms == pytest.approx(prediction.latency_ms * (1 + error))
    assert Predictor(table).price(NETWORK[0]).error == error


def test_a_plain_sum_of_blocks_is_hardly_known() -> None:
    prediction = Predictor(_measured_network()).predict(NETWORK)
    assert prediction.low_ms == pytest.approx(prediction.latency_ms * (1 - UNCHECKED_ERROR))


def test_no_interval_begins_below_nothing() -> None:
    table = _measured_network().model_copy(update={"validation": Validation(by="test", n=3, p90=1.5)})
    assert Predictor(table).predict(NETWORK).low_ms == 0


ALIKE = Block("conv", 8, 16, 32, 1, 3), Block("conv", 8, 16, 32, 1, 5)
OTHER = Block("conv", 16, 8, 32, 1, 3)
OUTSIDE = Block("conv", 16, 8, 33, 1, 3)


def _fitted(grouped_p90: float | None) -> Predictor:
    """A formula of 1 ms per million multiply-adds, fitted to the blocks above but `OUTSIDE`."""
    sizes = [block_sizes(block) for block in (*ALIKE, OTHER)]
    ranges = {name: (min(size[name] for size in sizes), max(size[name] for size in sizes)) for name in sizes[0]}
    return Predictor(
        LatencyTable(
            schema_version=SCHEMA_VERSION,
            name="formula",
            kind="fitted",
            device={"name": "a phone"},
            runtime="r",
            source="s",
            validation=Validation(by="test", n=3, grouped_p90=grouped_p90),
            model=FittedModel(coefficients={"dense_madds": 1e-6}, measured_ranges={size_group(OTHER): ranges}),
        )
    )


@pytest.mark.parametrize(("known", "error"), [(0.1, 0.1), (None, UNCHECKED_ERROR)])
def test_errors_of_one_shape_add_up_and_those_of_different_shapes_are_independent(
    known: float | None, error: float
) -> None:
    predictor = _fitted(known)
    prices = [predictor.price(block) for block in (*ALIKE, OTHER)]
    assert [price.error for price in prices] == [error] * 3
    one, two, three = (price.latency_ms for price in prices)
    assert three == pytest.approx(16 * 8 * 9 * 32**2 / 1e6)
    alike, mixed = predictor.predict(ALIKE), predictor.predict([*ALIKE, OTHER])
    assert alike.high_ms - alike.latency_ms == pytest.approx(error * (one + two))
    assert mixed.high_ms - mixed.latency_ms == pytest.approx(error * math.hypot(one + two, three))
    assert mixed.latency_ms - mixed.low_ms == pytest.approx(mixed.high_ms - mixed.latency_ms)


def test_extrapolation_makes_the_interval_wider() -> None:
    predictor = _fitted(0.1)
    price = predictor.price(OUTSIDE)
    assert price.extrapolated
    assert price.error == 2 * 0.1
    prediction = predictor.predict([OUTSIDE])
    assert prediction.extrapolated
    assert prediction.high_ms == pytest.approx(1.2 * price.latency_ms)


# What a table cannot price.


def test_a_table_of_another_space_or_size_is_refused_before_it_is_used() -> None:
    predictor = Predictor(_measured_network())
    predictor.check_covers(NETWORK)
    needed = SPACE.all_blocks(64, 10)
    lacking = len({block.signature for block in needed} - predictor.table.blocks.keys())
    with pytest.raises(LatencyError) as refusal:
        predictor.check_covers(needed)
    message = str(refusal.value)
    assert (
        f"table bench lacks {lacking} of {len({block.signature for block in needed})} blocks, for example " in message
    )
    assert "\n" not in message
    with pytest.raises(LatencyError, match="measured for another space or size"):
        predictor.check_covers(SPACE.blocks(SPACE.uniform("E3K5"), 96, 10))


def test_a_fitted_table_that_cannot_price_a_block_is_refused_before_it_is_used() -> None:
    _fitted(0.1).check_covers([*ALIKE, OUTSIDE])
    with pytest.raises(LatencyError, match="formula cannot price block mbconv-8x32-8-s1-k3-e3-se1-relu6"):
        _fitted(0.1).check_covers([*ALIKE, Block("mbconv", 8, 8, 32, 1, 3, 3, se_ratio=1.0)])


def test_a_kind_that_was_not_measured_is_extrapolated_and_as_uncertain_as_what_nobody_checked() -> None:
    price = _fitted(0.1).price(Block("mbconv", 8, 8, 32, 1, 3, 3))
    assert price.extrapolated
    assert price.error == UNCHECKED_ERROR


def test_shapes_that_were_not_measured_are_less_certain(pixel: Predictor) -> None:
    """Layers 1 and 2 of FairNAS, 16 to 32 and 32 to 32 channels, have no counterpart among the measured blocks."""
    checked = pixel.table.validation
    assert checked
    measured, *unmeasured = (
        pixel.price(Block("mbconv", *channels, resolution, stride, 5, 3))
        for channels, resolution, stride in (((40, 40), 28, 1), ((16, 32), 112, 2), ((32, 32), 56, 1))
    )
    assert measured.error == checked.loo_p90
    assert [price.error for price in unmeasured] == [checked.grouped_p90] * 2
    assert measured.error < unmeasured[0].error
    assert not any(price.extrapolated for price in unmeasured)


def test_note10_prices_squeeze_and_excitation_but_not_swish() -> None:
    note10 = Predictor(load_table("note10"))
    plain = Block("mbconv", 40, 40, 28, 1, 5, 6)
    assert note10.price(replace(plain, se_ratio=1.0)).latency_ms > note10.price(plain).latency_ms
    with pytest.raises(LatencyError, match="-swish: it was fitted to blocks without Swish"):
        note10.price(replace(plain, activation="swish"))
    with pytest.raises(LatencyError, match="-hswish: it was fitted to blocks without hard-Swish"):
        Predictor(load_table("pixel3")).price(replace(plain, activation="hswish"))


def test_note10_prices_hard_swish_by_the_elements_that_pass_it() -> None:
    """It was measured on MobileNetV3: stem, blocks, head and classifier."""
    note10 = Predictor(load_table("note10"))
    assert note10.table.model
    per_element = note10.table.model.coefficients["hswish_elements"]
    assert per_element > 0
    elements = {
        Block("conv", 3, 24, 224, 2, 3, activation="relu"): 24 * 112**2,
        Block("mbconv", 24, 32, 112, 2, 5, 3, activation="relu"): 72 * (112**2 + 56**2),
        Block("sepconv", 24, 24, 112, 1, 3, activation="relu"): 24 * 112**2,
        Block("conv", 192, 1152, 7, activation="relu"): 1152 * 7**2,
        Block("classifier", 1152, 1536, 7, activation="none"): 1536,
    }
    for block, count in elements.items():
        with_swish = note10.price(replace(block, activation="hswish"))
        assert with_swish.latency_ms - note10.price(block).latency_ms == pytest.approx(count * per_element, rel=1e-6)
        assert not with_swish.extrapolated


@pytest.mark.parametrize(
    ("block", "measured_ms"),
    [  # Means published with Once-for-All, in ms.
        (Block("conv", 3, 24, 160, 2, 3, activation="hswish"), 0.495562248995984),
        (Block("conv", 192, 1152, 6, activation="hswish"), 0.5312164328657315),
        (Block("classifier", 1152, 1536, 1, activation="hswish"), 0.7474116465863454),
    ],
)
def test_note10_hard_swish_blocks_take_what_was_measured(block: Block, measured_ms: float) -> None:
    assert Predictor(load_table("note10")).price(block).latency_ms == pytest.approx(measured_ms, rel=0.15)


def test_a_network_with_hard_swish_is_priced_by_note10() -> None:
    note10 = Predictor(load_table("note10"))
    found = note10.predict(SPACE.blocks(PUBLISHED["fairnas_c_se_hswish"], 224))
    plain = note10.predict(SPACE.blocks(PUBLISHED["fairnas_c"], 224))
    assert found.latency_ms > 1.1 * plain.latency_ms


def test_whole_networks_multiply_the_sum_of_blocks_and_widen_its_interval() -> None:
    pixel1 = load_table("pixel1")
    blocks = SPACE.blocks(PUBLISHED["fairnas_a"], 224)
    alone = Predictor(pixel1.model_copy(update={"network_factor": None})).predict(blocks)
    factor = NetworkFactor(factor=0.8, n=7, error=0.05, source="s")
    found = Predictor(pixel1.model_copy(update={"network_factor": factor})).predict(blocks)
    assert found.latency_ms == pytest.approx(0.8 * alone.latency_ms)
    half = math.hypot(0.8 * (alone.high_ms - alone.latency_ms), 0.05 * found.latency_ms)
    assert found.high_ms - found.latency_ms == pytest.approx(half)
    shipped = pixel1.network_factor
    assert shipped
    assert shipped.factor == pytest.approx(1 / 1.14, abs=5e-3)  # 14% too high, on networks that others measured
    assert "Once-for-All" in shipped.source


def test_a_measured_table_names_itself_and_the_block_it_lacks() -> None:
    table = _measured({"x": _latency(1.0)})
    with pytest.raises(LatencyError, match="table bench has no measurement of block mbconv-16x8-16-s1-k3-e3-relu6"):
        Predictor(table).price(Block("mbconv", 16, 16, 8, 1, 3, 3))


@pytest.mark.parametrize("name", ["fairnas_a_se", "fairnas_b_se050", "fairnas_c_se_hswish"])
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
        # The stem is worst: one of two convolutions that are no part of a block.
        assert price.latency_ms == pytest.approx(latency_ms, rel=0.16 if block.kind == "conv" else 0.1), block.signature
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
