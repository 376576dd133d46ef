"""Validation: its figures are those one computes by hand, on networks that cover the space and were not fitted to."""

from __future__ import annotations

import itertools
from pathlib import Path

import numpy as np
import pytest
from fairnas.latency_tables import (
    BlockLatency,
    Calibration,
    LatencyTable,
    Predictor,
    Rounds,
    Sample,
    Validation,
    calibration_networks,
    profile_blocks,
    validate,
    validation_networks,
)
from fairnas.latency_tables.table import SCHEMA_VERSION
from fairnas.latency_tables.table_parts import NetworkLatency
from fairnas.models import Block, get_space

from .simulated import Simulated

SPACE = get_space("b").scaled(0.5)
BLOCK = Block("conv", 8, 8, 8, 1, 3)
SIZES = (1, 2, 3, 4, 5)
NETWORKS = [[BLOCK] * size for size in SIZES]
MEASURED = [10.0, 20.0, 40.0, 38.0, 50.0]


@pytest.fixture
def ten_each() -> LatencyTable:
    """A table on which `NETWORKS` take 10, 20, 30, 40 and 50 ms: 2 ms and a line make them so."""
    line = Calibration(
        intercept_ms=0, slope=5, networks=[NetworkLatency(sum_ms=1, measured_ms=5)], loo_mape=0.03, loo_p90=0.06
    )
    return LatencyTable(
        schema_version=SCHEMA_VERSION,
        name="bench",
        kind="measured",
        device={"name": "a CPU"},
        runtime="r",
        created="2026-12-01T00:00:00+00:00",
        source="s",
        blocks={BLOCK.signature: BlockLatency.of([Sample("", 0, 3.0, 2.0)])},
        calibration=line,
    )


def test_figures_are_those_computed_by_hand(ten_each: LatencyTable) -> None:
    checked = validate(ten_each, NETWORKS, MEASURED).validation
    assert checked
    errors = np.array([0, 0, 10 / 40, 2 / 38, 0])
    assert checked.n == 5
    assert checked.mape == pytest.approx(errors.mean(), abs=1e-4)
    assert checked.p90 == 0.25  # of few errors it is the largest
    assert checked.within_5 == 0.6
    assert checked.within_10 == 0.8
    sums = np.array([2.0, 4.0, 6.0, 8.0, 10.0])
    assert checked.bias_before == pytest.approx(np.mean(sums / MEASURED - 1), abs=1e-4)
    assert checked.spearman == pytest.approx(1 - 6 * 2 / (5 * 24))  # two neighbours changed places
    assert checked.remeasure_spearman is None
    assert checked.spearman_gap_interval is None


def test_the_coverage_is_of_the_interval_that_the_calibration_promised(ten_each: LatencyTable) -> None:
    checked = validate(ten_each, NETWORKS, MEASURED)
    assert checked.validation
    assert checked.validation.interval_coverage == 0.8
    # Not that of an earlier validation, which would hold all of them.
    earlier = Validation(by="networks of another day", n=1, p90=0.5)
    assert validate(ten_each.model_copy(update={"validation": earlier}), NETWORKS, MEASURED) == checked


def test_measuring_again_is_the_ceiling(ten_each: LatencyTable) -> None:
    again = [10.0, 21.0, 41.0, 39.0, 38.0]
    checked = validate(ten_each, NETWORKS, MEASURED, again).validation
    assert checked
    assert checked.remeasure_spearman == pytest.approx(
        1 - 6 * (1 + 1 + 4) / (5 * 24)
    )  # the ranks of three differ by 1, 1 and 2


@pytest.mark.parametrize("count", [1, 2, 3])
def test_figures_of_few_networks_are_numbers_or_missing(ten_each: LatencyTable, count: int, tmp_path: Path) -> None:
    checked = validate(ten_each, NETWORKS[:count], MEASURED[:count], MEASURED[:count])
    checked.save(tmp_path / "table.json")
    assert LatencyTable.load(tmp_path / "table.json") == checked
    assert checked.validation
    assert (checked.validation.spearman is None) == (count == 1)


def test_networks_that_all_take_as_long_have_no_order(ten_each: LatencyTable) -> None:
    checked = validate(ten_each, NETWORKS, [10.0] * 5, [10.0] * 5).validation
    assert checked
    assert (checked.spearman, checked.remeasure_spearman, checked.spearman_gap_interval) == (None, None, None)


def test_the_gap_holds_nothing_where_predicting_is_as_good_as_measuring_again() -> None:
    rng = np.random.default_rng(0)
    blocks = {f"{place}": Block("conv", 8, 8 * place, 8, 1, 3) for place in range(1, 41)}
    table = profile_blocks(Simulated(), blocks.values(), Rounds(1, 1))
    networks = [[block] for block in blocks.values()]
    true_ms = np.array([table.blocks[block.signature].latency_ms for block in blocks.values()])
    noisy = [(true_ms * rng.normal(1, 0.3, 40)).tolist() for _ in range(2)]
    checked = validate(table, networks, *noisy).validation
    assert checked
    assert checked.spearman_gap_interval
    low, high = checked.spearman_gap_interval
    assert low < 0 < high + 0.05
    worse = validate(table, networks, noisy[0], noisy[0]).validation
    assert worse
    assert worse.spearman_gap_interval
    assert worse.remeasure_spearman == 1
    assert worse.spearman_gap_interval[0] > 0


@pytest.fixture(scope="module")
def predictor() -> Predictor:
    return Predictor(profile_blocks(Simulated(), SPACE.all_blocks(32, 10), Rounds(1, 1)))


def test_validation_networks_are_distinct_always_the_same_and_spread_evenly_over_latency(predictor: Predictor) -> None:
    networks = validation_networks(SPACE, predictor, 30, resolution=32, num_classes=10)
    assert networks == validation_networks(SPACE, predictor, 30, resolution=32, num_classes=10)
    assert networks != validation_networks(SPACE, predictor, 30, resolution=32, num_classes=10, seed=1)
    assert len(networks) == len({str(network) for network in networks}) == 30

    def latency_ms(network: object) -> float:
        return predictor.predict(SPACE.blocks(network, 32, 10)).latency_ms  # pyright: ignore[reportArgumentType]

    ends = [latency_ms(SPACE.uniform(choice)) for choice in ("E3K3", "E6K7")]
    latency = np.array([latency_ms(network) for network in networks])
    bands = np.floor(30 * (latency - ends[0]) / (ends[1] - ends[0]))
    assert len(set(bands)) >= 24
    # Drawn uniformly, nearly all of them would lie in the middle third.
    thirds = np.histogram(latency, 3, range=(ends[0], ends[1]))[0]
    assert thirds.min() >= 8


def test_they_are_strangers_to_the_calibration_but_for_the_extremes(predictor: Predictor) -> None:
    networks = validation_networks(SPACE, predictor, 60, resolution=32, num_classes=10)
    shared = set(map(str, networks)) & {str(network) for network in calibration_networks(SPACE, 10)}
    assert shared <= {str(SPACE.uniform("E3K3")), str(SPACE.uniform("E6K7"))}
    choices = [network.choices for network in networks]
    assert all(first != second for first, second in itertools.combinations(choices, 2))
