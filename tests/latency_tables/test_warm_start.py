"""Warm start: few timings carry a table over to another device, and the error that it states is one it has not seen."""

from __future__ import annotations

import itertools
import json
from pathlib import Path

import numpy as np
import pytest
from fairnas.experiments.warm_start import (
    DEFAULT_RESULTS,
    TIMINGS,
    leave_out,
    main,
    read_networks,
    select_method,
    to_markdown,
)
from fairnas.experiments.warm_start_methods import METHODS, Networks, used_operations
from fairnas.latency_tables import HostDevice, LatencyError, LatencyTable, Predictor, Rounds, profile_blocks
from fairnas.latency_tables.block_features import block_features
from fairnas.latency_tables.warm_start import (
    LEAST_TIMINGS,
    block_points,
    leave_one_out,
    scale,
    scaled_table,
    spread_choice,
)
from fairnas.models import get_space

SPACE = get_space("b").scaled(0.5)
BLOCKS = SPACE.all_blocks(32, 10)
BASE_MS = np.array([block.cost.madds / 1e6 + block.cost.params / 1e5 for block in BLOCKS])
DEPTHWISE = np.array([block_features(block)["depthwise_madds"] / block.cost.madds for block in BLOCKS])
POINTS = block_points(BLOCKS, BASE_MS)
QUICK = Rounds(least=2, most=2)


@pytest.fixture(scope="module")
def base() -> LatencyTable:
    return profile_blocks(HostDevice(), BLOCKS, QUICK)


@pytest.fixture(scope="module")
def scaled(base: LatencyTable) -> LatencyTable:
    return scaled_table(base, HostDevice(), BLOCKS, 8, QUICK, precision="int8")


def test_a_scaled_table_keeps_timed_blocks_as_measured_and_prices_all_others(scaled: LatencyTable) -> None:
    timed = [entry for entry in scaled.blocks.values() if entry.rounds]
    assert len(timed) == 8
    assert scaled.kind == "scaled"
    assert set(scaled.blocks) == {block.signature for block in BLOCKS}
    assert Predictor(scaled).predict(SPACE.blocks(SPACE.uniform(0), 32, 10)).latency_ms > 0


def test_a_scaled_table_states_the_error_of_timings_it_did_not_see_and_where_it_comes_from(
    base: LatencyTable, scaled: LatencyTable
) -> None:
    assert scaled.validation
    assert scaled.validation.n == 8
    assert scaled.validation.loo_mape is not None
    assert scaled.validation.loo_p90 is not None
    assert scaled.validation.loo_mape <= scaled.validation.loo_p90
    assert base.checksum() in scaled.source
    assert scaled.precision == "int8"


def test_a_scaled_table_survives_its_file(scaled: LatencyTable, tmp_path: Path) -> None:
    scaled.save(tmp_path / "table.json")
    assert LatencyTable.load(tmp_path / "table.json") == scaled


def test_timings_are_resumed_from_their_journal(base: LatencyTable, tmp_path: Path) -> None:
    journal = tmp_path / "timings.jsonl"
    first = scaled_table(base, HostDevice(), BLOCKS, 5, QUICK, journal=journal)
    again = scaled_table(base, HostDevice(), BLOCKS, 5, QUICK, journal=journal)
    assert again.blocks == first.blocks


@pytest.mark.parametrize("timings", [LEAST_TIMINGS - 1, len(BLOCKS)])
def test_too_few_and_too_many_timings_are_refused(base: LatencyTable, timings: int) -> None:
    with pytest.raises(LatencyError, match=rf"ask for {LEAST_TIMINGS} to {len(BLOCKS) - 1}"):
        scaled_table(base, HostDevice(), BLOCKS, timings, QUICK)


def test_a_base_that_lacks_a_block_is_refused_before_anything_is_timed(base: LatencyTable) -> None:
    with pytest.raises(LatencyError, match="lacks"):
        scaled_table(base, HostDevice(), SPACE.all_blocks(64, 10), 8, QUICK)


def test_a_constant_ratio_is_found_by_the_fewest_timings() -> None:
    timed = spread_choice(POINTS, LEAST_TIMINGS)
    np.testing.assert_allclose(scale(POINTS, BASE_MS, timed, 3 * BASE_MS[timed]), 3 * BASE_MS, rtol=1e-6)


def test_a_device_that_is_slow_at_depthwise_convolutions_is_found_where_one_ratio_fails() -> None:
    truth = 0.5 * BASE_MS**0.9 * np.exp(2 * DEPTHWISE)
    timed = spread_choice(POINTS, 20)
    errors = np.abs(scale(POINTS, BASE_MS, timed, truth[timed]) / truth - 1)
    ratio_errors = np.abs(BASE_MS * np.median(truth[timed] / BASE_MS[timed]) / truth - 1)
    assert np.delete(errors, timed).mean() < 0.03
    assert np.delete(ratio_errors, timed).mean() > 0.1


def test_leave_one_out_does_not_see_the_time_it_predicts() -> None:
    timed = spread_choice(POINTS, 10)
    measured = BASE_MS[timed] * np.exp(DEPTHWISE[timed])
    spoilt = measured.copy()
    spoilt[3] *= 10
    before = (leave_one_out(POINTS, BASE_MS, timed, measured)[3] + 1) * measured[3]
    after = (leave_one_out(POINTS, BASE_MS, timed, spoilt)[3] + 1) * spoilt[3]
    assert after == pytest.approx(before)


@pytest.mark.parametrize("count", [4, 20, len(BLOCKS)])
def test_the_choice_is_spread_distinct_and_the_same_again(count: int) -> None:
    chosen = spread_choice(POINTS, count)
    assert len(set(chosen.tolist())) == count
    np.testing.assert_array_equal(chosen, spread_choice(POINTS, count))


def test_the_choice_reaches_small_and_large_blocks_of_all_kinds() -> None:
    chosen = spread_choice(POINTS, 10)
    order = np.argsort(np.argsort(BASE_MS))[chosen]
    assert order.min() < len(BLOCKS) / 4
    assert order.max() >= len(BLOCKS) * 3 / 4
    assert len({BLOCKS[place].kind for place in chosen}) >= 3


@pytest.mark.filterwarnings("ignore:Number of distinct clusters")
def test_equal_points_are_still_chosen_only_once_each() -> None:
    assert len(set(spread_choice(np.zeros((6, 2)), 4).tolist())) == 4


def _networks(count: int = 600) -> Networks:
    """Devices that are mixtures of two: one bound by arithmetic, one by the number of operations."""
    rng = np.random.default_rng(0)
    operations = rng.integers(0, 4, size=(count, 4)).astype(float)
    macs = 5 + operations @ [0, 2, 15, 0] + rng.random(count)
    calls = 1 + operations @ [0.2, 1, 1.5, 0.8] + 0.3 * rng.random(count)
    shares = {"alpha": 0.9, "beta": 0.6, "gamma": 0.3, "delta": 0.1}
    latency = np.stack([share * macs / 10 + (1 - share) * calls for share in shares.values()], axis=1)
    return Networks(tuple(shares), latency, macs, operations, np.ones(count, dtype=bool))


def test_a_mixture_of_known_devices_is_predicted_better_than_from_its_multiply_adds() -> None:
    found = leave_out(_networks(), "gamma", 10, draws=3)
    assert found["mape"] < 0.03
    assert found["macs_mape"] > 3 * found["mape"]
    assert found["spearman"] > 0.99 > found["macs_spearman"]
    assert found["n"] == 590


@pytest.mark.parametrize("name", METHODS)
def test_every_method_predicts_positive_latencies_near_the_truth(name: str) -> None:
    networks = _networks()
    truth = networks.latency_ms[:, 2]
    timed = np.arange(50)
    predicted = METHODS[name](networks.on(["alpha", "beta", "delta"]), timed, truth[timed])
    assert predicted.min() > 0
    assert np.abs(predicted / truth - 1).mean() < 0.05


def test_the_method_for_a_device_is_chosen_without_its_times() -> None:
    networks = _networks()
    spoilt = networks.latency_ms.copy()
    spoilt[:, 2] = np.random.default_rng(1).random(len(spoilt)) + 1
    other = Networks(networks.devices, spoilt, networks.macs, networks.operations, networks.connected)
    known = ["alpha", "beta", "delta"]
    assert select_method(networks.on(known), 10) == select_method(other.on(known), 10)
    assert leave_out(other, "gamma", 10, 2)["method"] == leave_out(networks, "gamma", 10, 2)["method"]


@pytest.fixture
def files(tmp_path: Path) -> tuple[Path, Path]:
    latencies, costs = tmp_path / "latencies.csv", tmp_path / "costs.csv"
    names = ["".join(name) for name in itertools.product("03", repeat=6)]
    latencies.write_text("index,arch,one,two\n" + "".join(f"{i},{name},1.5,{i + 1}\n" for i, name in enumerate(names)))
    costs.write_text("index,arch,conv_mflops\n" + "".join(f"{i},{name},{i + 1}\n" for i, name in enumerate(names)))
    return latencies, costs


def test_networks_whose_output_does_not_depend_on_the_input_are_known(files: tuple[Path, Path]) -> None:
    networks = read_networks(*files)
    names = ["".join(name) for name in itertools.product("03", repeat=6)]
    connected = dict(zip(names, networks.connected.tolist(), strict=True))
    assert not connected["000000"]
    assert not connected["330000"]  # 0-1 and 0-2 lead nowhere
    assert not connected["003033"]  # nothing leaves the input
    assert connected["000300"]  # 0-3
    assert connected["303003"]  # 0-1, 1-2, 2-3
    assert networks.devices == ("one", "two")


@pytest.mark.parametrize(
    ("name", "used"),
    [
        ("333333", "333333"),
        ("330300", "000300"),  # 0-1 and 0-2 lead nowhere
        ("003333", "000300"),  # nothing enters the nodes 1 and 2
        ("303003", "303003"),  # 0-1, 1-2, 2-3
        ("300310", "300310"),
        ("333000", "000000"),
        ("030021", "030001"),  # 1-3: nothing enters 1
    ],
)
def test_operations_on_no_way_from_input_to_output_are_dropped(name: str, used: str) -> None:
    assert used_operations(name) == used


def test_multiply_adds_and_operations_are_those_that_are_used(tmp_path: Path) -> None:
    """A convolution of 3x3 has 9 times as many as one of 1x1; 5 are elsewhere in the network."""
    names = ["".join(name) for name in itertools.product("0123", repeat=6)]
    rows = [f"{name},{5 + 2 * (name.count('2') + 9 * name.count('3'))}\n" for name in names]
    latencies, costs = tmp_path / "latencies.csv", tmp_path / "costs.csv"
    latencies.write_text("arch,one\n" + "".join(f"{name},1.5\n" for name in names))
    costs.write_text("arch,conv_mflops\n" + "".join(rows))
    networks = read_networks(latencies, costs)
    place = names.index("330320")
    assert networks.macs[place] == pytest.approx(5 + 2 * (9 + 9 + 1))  # 0-3 and, by 0-1, 1-3; 0-2 leads nowhere
    assert networks.operations[place].tolist() == [0, 1, 2, 0]


def test_files_of_different_architectures_are_refused_in_one_line(
    files: tuple[Path, Path], capsys: pytest.CaptureFixture[str]
) -> None:
    latencies, costs = files
    costs.write_text("\n".join(costs.read_text().splitlines()[:-1]) + "\n")
    assert main(["--data", str(latencies), "--truth", str(costs)]) == 2
    error = capsys.readouterr().err
    assert "do not list the same architectures" in error
    assert error.count("\n") == 1


@pytest.mark.parametrize("damage", ["missing", "no column", "no number"])
def test_damaged_files_are_refused(files: tuple[Path, Path], damage: str) -> None:
    latencies, costs = files
    if damage == "missing":
        costs.unlink()
    else:
        old, new = {"no column": ("conv_mflops", "other"), "no number": (",7\n", ",seven\n")}[damage]
        costs.write_text(costs.read_text().replace(old, new))
    with pytest.raises(LatencyError):
        read_networks(latencies, costs)


@pytest.mark.skipif(not DEFAULT_RESULTS.exists(), reason="results/warm_start.json is not there")
def test_the_results_are_better_than_multiply_adds_on_every_device_and_fill_the_readme() -> None:
    results = json.loads(DEFAULT_RESULTS.read_text())
    for device, by_count in results["devices"].items():
        assert set(by_count) == {str(count) for count in TIMINGS}
        for count, found in by_count.items():
            assert found["mape"] < found["macs_mape"], (device, count)
            assert found["spearman"] > found["macs_spearman"], (device, count)
    table = to_markdown(results)
    assert all(f"| {device} |" in table for device in results["devices"])
