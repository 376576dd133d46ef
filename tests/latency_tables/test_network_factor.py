"""A factor from whole networks: exact where they agree, as uncertain as they differ."""

from __future__ import annotations

from pathlib import Path

import pytest
from fairnas.latency_tables import LatencyError, LatencyTable, Predictor, load_table
from fairnas.latency_tables.network_factor import read_measurements, with_network_factor
from fairnas.latency_tables.table_parts import BlockLatency
from fairnas.models import PUBLISHED, get_space

SPACE = get_space("b")
NETWORKS = {name: SPACE.blocks(PUBLISHED[name], 224) for name in ("fairnas_a", "fairnas_b", "fairnas_c")}
BARE = load_table("pixel1").model_copy(update={"network_factor": None})
PREDICTED = {name: Predictor(BARE).predict(blocks).latency_ms for name, blocks in NETWORKS.items()}


def test_networks_that_agree_give_their_ratio_and_no_error() -> None:
    table = with_network_factor(BARE, NETWORKS, {name: 0.75 * ms for name, ms in PREDICTED.items()}, "me")
    assert table.network_factor
    assert (table.network_factor.factor, table.network_factor.n, table.network_factor.error) == (0.75, 3, 0.0)
    for name, blocks in NETWORKS.items():
        assert Predictor(table).predict(blocks).latency_ms == pytest.approx(0.75 * PREDICTED[name])


def test_an_earlier_factor_is_replaced_not_multiplied() -> None:
    table = with_network_factor(load_table("pixel1"), NETWORKS, PREDICTED, "me")
    assert table.network_factor
    assert table.network_factor.factor == 1.0


def test_the_error_is_students_of_one_more_network() -> None:
    shares = dict(zip(NETWORKS, (0.9, 1.0, 1 / 0.9), strict=True))
    table = with_network_factor(BARE, NETWORKS, {name: shares[name] * ms for name, ms in PREDICTED.items()}, "me")
    assert table.network_factor
    assert table.network_factor.factor == 1.0
    # Logarithms -0.10536, 0 and 0.10536: 2.91999 (Student, 2 degrees, 95%) * 0.10536 * sqrt(4 / 3) = 0.35525.
    assert table.network_factor.error == pytest.approx(0.4265, abs=1e-3)


def test_a_measured_table_is_refused() -> None:
    one = BlockLatency(latency_ms=1.0, cold_ms=1.0, median_ms=1.0, p90_ms=1.0, rounds=1)
    measured = LatencyTable(
        schema_version=2,
        name="bench",
        kind="measured",
        device={"name": "d"},
        runtime="r",
        created="2026-01-01",
        source="s",
        blocks={"b": one},
    )
    with pytest.raises(LatencyError, match="bench was measured"):
        with_network_factor(measured, NETWORKS, PREDICTED, "me")


def test_measurements_are_read_and_odd_ones_named(tmp_path: Path) -> None:
    path = tmp_path / "m.csv"
    path.write_text("name,latency_ms\na,1.5\nb,2\nc,3e1\n")
    assert read_measurements(path) == {"a": 1.5, "b": 2.0, "c": 30.0}
    for row in ("b,", "b,soon", "b,nan", "b,-1", "b,0", "b,1e300", ",3", "a,3", "b"):
        path.write_text(f"name,latency_ms\na,1.5\n{row}\nc,3\n")
        with pytest.raises(LatencyError, match="line 3: expected"):
            read_measurements(path)
    path.write_text("name,latency_ms\na,1\nb,2\n")
    with pytest.raises(LatencyError, match="has 2 networks: a factor needs at least 3"):
        read_measurements(path)
    with pytest.raises(LatencyError, match="does not exist"):
        read_measurements(tmp_path / "none.csv")
