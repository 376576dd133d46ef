"""Calibration: the line is found where there is one, and its error is stated on networks that it has not seen."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from fairnas.latency_tables import (
    BlockLatency,
    LatencyTable,
    Predictor,
    Rounds,
    Sample,
    calibrate,
    calibration_networks,
    measure_networks,
    profile_blocks,
    recalibrate,
)
from fairnas.latency_tables.calibration import block_sums, fit_line, leave_one_out, upper_error
from fairnas.models import Block, get_space

from .simulated import NETWORK_INTERCEPT_MS, NETWORK_SLOPE, Simulated

SPACE = get_space("b").scaled(0.5)
NETWORKS = [SPACE.blocks(architecture, 32, 10) for architecture in calibration_networks(SPACE, 8)]
TWICE = Rounds(2, 2)


@pytest.fixture(scope="module")
def table() -> LatencyTable:
    return profile_blocks(Simulated(), [block for network in NETWORKS for block in network], TWICE)


@pytest.fixture(scope="module")
def measured_ms() -> list[float]:
    networks = {str(place): blocks for place, blocks in enumerate(NETWORKS)}
    return [timing.latency_ms for timing in measure_networks(Simulated(), networks, TWICE).values()]


def test_calibration_recovers_how_networks_differ_from_their_blocks(
    table: LatencyTable, measured_ms: list[float], tmp_path: Path
) -> None:
    calibrated = calibrate(table, NETWORKS, measured_ms)
    line = calibrated.calibration
    assert line
    # Constants are stored once per network and once per block: the simulated device sees a little of that.
    assert line.intercept_ms == pytest.approx(NETWORK_INTERCEPT_MS, abs=0.05)
    assert line.slope == pytest.approx(NETWORK_SLOPE, rel=0.01)
    assert line.cold_share == 0
    assert line.loo_mape is not None
    assert line.loo_p90 is not None
    assert line.loo_mape <= line.loo_p90 < 0.001
    for blocks, network, latency_ms in zip(NETWORKS, line.networks, measured_ms, strict=True):
        assert Predictor(table).predict(blocks).latency_ms == pytest.approx(network.sum_ms)
        assert network.measured_ms == pytest.approx(latency_ms)
        assert Predictor(calibrated).predict(blocks).latency_ms == pytest.approx(latency_ms, rel=1e-3)
    assert calibrated.blocks == table.blocks
    calibrated.save(tmp_path / "table.json")
    assert LatencyTable.load(tmp_path / "table.json") == calibrated
    assert calibrate(calibrated, NETWORKS, measured_ms) == calibrated


def test_one_network_gives_a_factor_and_no_error(table: LatencyTable, measured_ms: list[float]) -> None:
    line = calibrate(table, NETWORKS[:1], measured_ms[:1]).calibration
    assert line
    assert line.intercept_ms == 0
    (network,) = line.networks
    assert line.slope == pytest.approx(network.measured_ms / network.sum_ms, rel=1e-5)
    assert line.loo_mape is None
    assert line.loo_p90 is None


# Warm and cold times.

SHAPES = [Block("conv", 8, 8, 8, 1, kernel) for kernel in (1, 3, 5)]
MIXTURES = [
    [SHAPES[0]] * a + [SHAPES[1]] * b + [SHAPES[2]] * c for a, b, c in np.random.default_rng(0).integers(1, 9, (12, 3))
]


def _cold_is_another_order() -> LatencyTable:
    """Blocks that take 1, 2 and 3 ms warm, and 9, 3 and 5 ms cold."""
    table = profile_blocks(Simulated(), SHAPES, TWICE)
    times = zip(SHAPES, (1.0, 2.0, 3.0), (9.0, 3.0, 5.0), strict=True)
    blocks = {block.signature: BlockLatency.of([Sample("", 0, cold, warm)]) for block, warm, cold in times}
    return table.model_copy(update={"blocks": blocks})


@pytest.mark.parametrize("share", [0.0, 0.5, 1.0])
def test_cold_times_are_used_as_far_as_networks_are_cold(share: float) -> None:
    table = _cold_is_another_order()
    sums = block_sums(table, MIXTURES, share)
    calibrated = calibrate(table, MIXTURES, (3 + 1.2 * sums).tolist())
    line = calibrated.calibration
    assert line
    assert line.cold_share == share
    assert (line.intercept_ms, line.slope) == pytest.approx((3, 1.2), rel=1e-4)
    for blocks, total in zip(MIXTURES, sums, strict=True):
        assert Predictor(calibrated).predict(blocks).latency_ms == pytest.approx(3 + 1.2 * total, rel=1e-4)


def test_cold_times_must_earn_their_place() -> None:
    """Where warm and cold times predict alike, noise must not decide: warm ones it is."""
    table = _cold_is_another_order()
    half_cold = {
        block.signature: BlockLatency.of([Sample("", 0, 2 * timing.latency_ms + 0.01 * place, timing.latency_ms)])
        for place, (block, timing) in enumerate(zip(SHAPES, table.blocks.values(), strict=True))
    }
    table = table.model_copy(update={"blocks": half_cold})
    rng = np.random.default_rng(1)
    for _ in range(10):
        measured = block_sums(table, MIXTURES, 1.0) * rng.normal(1, 0.02, len(MIXTURES))
        line = calibrate(table, MIXTURES, measured.tolist()).calibration
        assert line
        assert line.cold_share == 0


# More networks later.


def test_later_networks_count_beside_the_earlier_ones(table: LatencyTable, measured_ms: list[float]) -> None:
    at_once = calibrate(table, NETWORKS, measured_ms)
    first = calibrate(table, NETWORKS[:5], measured_ms[:5])
    assert recalibrate(first, NETWORKS[5:], measured_ms[5:]) == at_once
    assert recalibrate(table, NETWORKS, measured_ms) == at_once


def test_later_networks_correct_a_line(table: LatencyTable, measured_ms: list[float]) -> None:
    wrong = calibrate(table, NETWORKS[:4], [2 * latency for latency in measured_ms[:4]])
    before, after = (
        abs(Predictor(each).predict(NETWORKS[6]).latency_ms - measured_ms[6])
        for each in (wrong, recalibrate(wrong, NETWORKS[4:], measured_ms[4:]))
    )
    assert after < before


def test_a_mixture_stays_when_networks_are_added() -> None:
    table = _cold_is_another_order()
    measured = (3 + 1.2 * block_sums(table, MIXTURES, 0.5)).tolist()
    later = recalibrate(calibrate(table, MIXTURES[:8], measured[:8]), MIXTURES[8:], measured[8:])
    assert later.calibration
    assert later.calibration.cold_share == 0.5
    assert later == calibrate(table, MIXTURES, measured)


# The line.


def test_the_fit_is_a_line_with_a_positive_slope_and_positive_predictions() -> None:
    sums = np.array([1.0, 2.0, 3.0, 5.0])
    assert fit_line(sums, 0.5 + 2 * sums) == pytest.approx((0.5, 2))
    assert fit_line(sums, 2 * sums - 0.5) == pytest.approx((-0.5, 2))
    intercept, slope = fit_line(sums[:3], 2 * sums[:3])
    assert (intercept, slope) == pytest.approx((0, 2))
    assert fit_line(sums[:3], 0.5 + 2 * sums[:3])[0] == 0
    # Noise that makes larger networks faster must not turn the search around.
    intercept, slope = fit_line(sums, np.array([5.0, 3.0, 2.0, 1.0]))
    assert intercept == 0
    assert slope > 0


def test_leaving_one_out_is_fitting_to_the_others() -> None:
    sums, measured = np.arange(1.0, 7.0), np.array([3.1, 4.8, 7.2, 9.0, 10.7, 13.3])
    for place, error in enumerate(leave_one_out(sums, measured)):
        intercept, slope = fit_line(np.delete(sums, place), np.delete(measured, place))
        assert error == pytest.approx((intercept + slope * sums[place]) / measured[place] - 1)


@pytest.mark.parametrize(("count", "rank"), [(1, 1), (5, 5), (9, 9), (10, 10), (19, 18), (60, 55), (99, 90)])
def test_the_upper_error_is_the_conformal_quantile(count: int, rank: int) -> None:
    errors = np.random.default_rng(0).permutation(np.arange(1.0, count + 1))
    assert upper_error(errors) == rank


# Networks.


def test_calibration_networks_go_from_the_smallest_to_the_largest() -> None:
    networks = calibration_networks(SPACE, 8, 0.5)
    assert networks == calibration_networks(SPACE, 8, 0.5)
    assert networks[0] == SPACE.uniform("E3K3").with_se(0.5)
    assert networks[-1] == SPACE.uniform("E6K7").with_se(0.5)
    madds = np.array([SPACE.cost(network, 64).madds for network in networks])
    gaps = np.diff(madds) / (madds[-1] - madds[0])
    assert gaps.min() > 0.03
    assert gaps.max() < 0.3
    assert len(calibration_networks(SPACE, 1)) == 1
    assert calibration_networks(SPACE, 0) == []
