"""Costs of a space: tabulated once, and equal to what network by network arithmetic and prediction give."""

from __future__ import annotations

import numpy as np
import pytest
from fairnas.latency_tables import BlockLatency, LatencyError, LatencyTable, Predictor, Sample, load_table
from fairnas.latency_tables.table_parts import Calibration, NetworkLatency
from fairnas.models import get_space
from fairnas.pipeline.search.costs import space_costs


@pytest.mark.parametrize(("name", "width", "resolution"), [("a", 1.0, 224), ("b", 1.0, 224), ("b", 0.5, 64)])
def test_costs_equal_those_of_each_network(name: str, width: float, resolution: int) -> None:
    space, predictor = get_space(name).scaled(width), Predictor(load_table("pixel1"))
    costs = space_costs(space, predictor, resolution, 1000)
    rng = np.random.default_rng(0)
    for _ in range(50):
        architecture = space.sample(rng)
        cost = space.cost(architecture, resolution, 1000)
        prediction = predictor.predict(space.blocks(architecture, resolution, 1000))
        found = costs.of(architecture.choices)
        assert (found["madds"], found["params"]) == (cost.madds, cost.params)
        assert found["latency_ms"] == pytest.approx(prediction.latency_ms, rel=1e-12)
        assert found["latency_upper_ms"] == pytest.approx(prediction.high_ms, rel=1e-12)
        assert costs.is_extrapolated(architecture.choices) == prediction.extrapolated


def test_extrapolation_depends_on_the_choices() -> None:
    """Only blocks that an architecture has can make it extrapolated."""
    space = get_space("b")
    costs = space_costs(space, Predictor(load_table("pixel1")), 224, 1000)
    costs.extrapolated[:] = False
    costs.extrapolated[3, 5] = True
    assert not costs.fixed_extrapolated
    assert not costs.is_extrapolated([0] * 19)
    assert costs.is_extrapolated([0, 0, 0, 5, *[0] * 15])


def test_a_table_that_cannot_price_the_space_is_refused() -> None:
    block = get_space("b").all_blocks(32)[0]
    poor = LatencyTable(
        schema_version=2,
        name="poor",
        kind="measured",
        device={"name": "a CPU"},
        runtime="r",
        created="2026-01-01T00:00:00+00:00",
        source="s",
        blocks={block.signature: BlockLatency.of([Sample("", 0, 1.0, 1.0)])},
    )
    with pytest.raises(LatencyError, match="poor has no measurement of block"):
        space_costs(get_space("b"), Predictor(poor), 32, 1000)


def measured(name: str, dearest_ms: float, **more: object) -> LatencyTable:
    """A table of every block of space b at 32 pixels, the later ones dearer."""
    blocks = get_space("b").all_blocks(32, 10)
    times = np.linspace(0.1, dearest_ms, len(blocks)).tolist()
    entries = {b.signature: BlockLatency.of([Sample("", 0, t, t)]) for b, t in zip(blocks, times, strict=True)}
    origin = {"runtime": "r", "created": "2026-01-01T00:00:00+00:00", "source": "s", "device": {"name": "a CPU"}}
    return LatencyTable.model_validate(
        {"schema_version": 2, "name": name, "kind": "measured", "blocks": entries, **origin, **more}
    )


@pytest.mark.parametrize("intercept_ms", [None, -0.3])
def test_the_interval_of_a_measured_table_is_a_share_of_the_estimate(intercept_ms: float | None) -> None:
    table = measured("plain", 2.0)
    if intercept_ms is not None:
        timed = NetworkLatency(sum_ms=8.0, measured_ms=9.0)
        line = Calibration(intercept_ms=intercept_ms, slope=1.25, networks=[timed], loo_p90=0.07)
        table = table.model_copy(update={"calibration": line})
    predictor, quantised = Predictor(table), Predictor(measured("int8", 0.9, precision="int8"))
    costs = space_costs(get_space("b"), predictor, 32, 10, quantised)
    assert not costs.spreads
    rng = np.random.default_rng(0)
    for _ in range(20):
        architecture = get_space("b").sample(rng)
        blocks = get_space("b").blocks(architecture, 32, 10)
        prediction, found = predictor.predict(blocks), costs.of(architecture.choices)
        assert found["latency_ms"] == pytest.approx(prediction.latency_ms, rel=1e-12)
        assert found["latency_upper_ms"] == pytest.approx(prediction.high_ms, rel=1e-12)
        assert found["latency_int8_ms"] == pytest.approx(quantised.predict(blocks).latency_ms, rel=1e-12)


def test_int8_latency_is_unknown_without_its_table() -> None:
    assert "latency_int8_ms" not in space_costs(get_space("b"), Predictor(load_table("pixel1")), 32, 10).per_choice
