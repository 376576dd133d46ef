"""Tabulated costs are what the predictor and the arithmetic say of the same network."""

from __future__ import annotations

import numpy as np
import pytest
from fairnas.latency_tables import BlockLatency, Calibration, LatencyTable, Predictor, Sample, load_table
from fairnas.latency_tables.table import SCHEMA_VERSION
from fairnas.latency_tables.table_parts import NetworkLatency
from fairnas.models import get_space
from fairnas.pipeline.search.costs import space_costs

SPACE = get_space("b").scaled(0.5)
PAIR = NetworkLatency(sum_ms=8.0, measured_ms=15.0)


def _calibrated() -> LatencyTable:
    rng = np.random.default_rng(0)
    return LatencyTable(
        schema_version=SCHEMA_VERSION,
        name="bench",
        kind="measured",
        device={"name": "a CPU"},
        runtime="r",
        created="now",
        source="s",
        blocks={
            block.signature: BlockLatency.of([Sample("", 0, *rng.uniform(0.1, 1, 2).tolist())])
            for block in SPACE.all_blocks(48, 10)
        },
        calibration=Calibration(intercept_ms=3.0, slope=1.5, cold_share=0.5, networks=[PAIR]),
    )


@pytest.mark.parametrize("table", [_calibrated(), load_table("pixel1")], ids=["calibrated", "fitted"])
def test_costs_of_a_genome_are_those_of_its_network(table: LatencyTable) -> None:
    predictor = Predictor(table)
    costs = space_costs(SPACE, predictor, 48, 10)
    rng = np.random.default_rng(1)
    for _ in range(5):
        architecture = SPACE.sample(rng)
        prediction = predictor.predict(SPACE.blocks(architecture, 48, 10))
        cost = SPACE.cost(architecture, 48, 10)
        expected = {
            "latency_ms": prediction.latency_ms,
            "latency_upper_ms": prediction.high_ms,
            "madds": cost.madds,
            "params": cost.params,
        }
        assert costs.of(architecture.choices) == pytest.approx(expected, rel=1e-12)
        assert costs.is_extrapolated(architecture.choices) == prediction.extrapolated
