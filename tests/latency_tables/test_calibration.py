"""Calibration: the line is found where there is one, and its error is stated on networks that it has not seen."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from fairnas.latency_tables import (
    HostDevice,
    LatencyError,
    LatencyTable,
    Predictor,
    calibrate,
    calibration_networks,
    profile_blocks,
)
from fairnas.latency_tables.calibration import fit_line, leave_one_out
from fairnas.models import get_space

SPACE = get_space("b").scaled(0.5)
NETWORKS = [SPACE.blocks(architecture, 32, 10) for architecture in calibration_networks(SPACE, 6)]


class Simulated(HostDevice):
    """A device where a block takes 1 ms per 10,000 weights, and a network 4 ms more and half as long again."""

    def fingerprint(self) -> dict[str, str | int]:
        return {"name": "simulated", "runtime": "none"}

    def measure(self, models: Mapping[str, Any], rounds: int, progress: Any = None) -> dict[str, list[float]]:
        times: dict[str, list[float]] = {}
        for name, model in models.items():
            weights = sum(np.prod(tensor.dims) for tensor in onnx.load_from_string(model).graph.initializer) / 1e4
            latency = 4 + 1.5 * weights if name.startswith("network") else weights
            times[name] = [latency + 0.5 * (rounds - 1 - turn) for turn in range(rounds)]
        return times


@pytest.fixture(scope="module")
def table() -> LatencyTable:
    return profile_blocks(Simulated(), [block for network in NETWORKS for block in network], 2)


def test_calibration_recovers_how_networks_differ_from_their_blocks(table: LatencyTable, tmp_path: Path) -> None:
    calibrated = calibrate(Simulated(), table, NETWORKS, 2)
    assert calibrated.calibration
    # Constants are stored once per network and once per block: the simulated device sees a little of that.
    assert calibrated.calibration.intercept_ms == pytest.approx(4, abs=0.05)
    assert calibrated.calibration.slope == pytest.approx(1.5, rel=0.01)
    assert len(calibrated.calibration.networks) == calibrated.validation["n"] == 6
    assert calibrated.validation["loo_mape"] < 0.001
    for blocks, network in zip(NETWORKS, calibrated.calibration.networks, strict=True):
        assert Predictor(table).predict(blocks).latency_ms == pytest.approx(network.sum_ms)
        assert Predictor(calibrated).predict(blocks).latency_ms == pytest.approx(network.measured_ms, rel=1e-3)
    bias = np.mean([network.sum_ms / network.measured_ms - 1 for network in calibrated.calibration.networks])
    assert calibrated.validation["bias_before"] == pytest.approx(bias, abs=1e-4)
    assert calibrated.blocks == table.blocks
    calibrated.save(tmp_path / "table.json")
    assert LatencyTable.load(tmp_path / "table.json") == calibrated
    assert calibrate(Simulated(), calibrated, NETWORKS, 2) == calibrated


def test_one_network_gives_a_factor_and_no_error(table: LatencyTable) -> None:
    calibrated = calibrate(Simulated(), table, NETWORKS[:1], 2)
    assert calibrated.calibration
    assert calibrated.calibration.intercept_ms == 0
    (network,) = calibrated.calibration.networks
    assert calibrated.calibration.slope == pytest.approx(network.measured_ms / network.sum_ms, rel=1e-5)
    assert set(calibrated.validation) == {"n", "bias_before"}


def test_what_cannot_calibrate_is_refused(table: LatencyTable) -> None:
    with pytest.raises(LatencyError, match="no network"):
        calibrate(Simulated(), table, [], 2)
    with pytest.raises(LatencyError, match="another device"):
        calibrate(HostDevice(), table, NETWORKS, 2)
    with pytest.raises(LatencyError, match="has no measurement of block"):
        calibrate(Simulated(), table, [SPACE.blocks(SPACE.uniform(0), 64, 10)], 2)


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


def test_a_calibrated_host_table_is_close_to_networks_on_this_host() -> None:
    device = HostDevice()
    table = profile_blocks(device, [block for network in NETWORKS for block in network], 5)
    calibrated = calibrate(device, table, NETWORKS, 5)
    assert calibrated.calibration
    assert calibrated.validation["loo_mape"] < 0.25
    assert abs(calibrated.validation["bias_before"]) < 0.9
