"""Intervals: nine of ten networks that are timed in another session lie inside."""

from __future__ import annotations

import numpy as np
import pytest
from fairnas.latency_tables import BlockLatency, LatencyTable, Predictor, Sample, Steadiness, calibrate, validate
from fairnas.latency_tables.references import session_error
from fairnas.latency_tables.table import SCHEMA_VERSION
from fairnas.models import Block

BLOCK = Block("conv", 8, 8, 8, 1, 3)
NETWORKS = [[BLOCK] * size for size in range(10, 80)]
SIZES = np.arange(10.0, 80.0)
UNSEEN = [[BLOCK] * size for size in range(80, 140)]


def _table(steadiness: Steadiness | None) -> LatencyTable:
    return LatencyTable(
        schema_version=SCHEMA_VERSION,
        name="bench",
        kind="measured",
        device={"name": "a CPU"},
        runtime="r",
        created="2026-12-01T00:00:00+00:00",
        source="s",
        blocks={BLOCK.signature: BlockLatency.of([Sample("", 0, 1.0, 1.0)])},
        steadiness=steadiness,
    )


def _inside(between: float, within: float, rng: np.random.Generator, *, sessions: bool = True) -> float:
    """Share of 60 networks inside their intervals, in a session after that of a table.

    Args:
        between: standard deviation from session to session, the same for all networks.
        within: that of networks within a session.
        rng: draws both.
        sessions: whether the table knows how much sessions differ.
    """
    shifts = rng.normal(0, between, 7)
    own = Steadiness(references_ms={"r": [1.0]}, moved=0, networks=0, settled=0, session_error=0)
    speeds, shift = shifts[:4], float(shifts[5] - shifts[4])
    own = own.model_copy(update={"session_error": session_error(speeds, [shift])})

    def timed(networks: np.ndarray, session: int) -> list[float]:
        return (networks * np.exp(shifts[session] + rng.normal(0, within, len(networks)))).tolist()

    first, second = timed(SIZES, 4), timed(SIZES, 5)
    table = calibrate(_table(own if sessions else None), NETWORKS[::7], first[::7])
    held_out = [place for place in range(len(NETWORKS)) if place % 7]
    if sessions:
        table = validate(table, [NETWORKS[place] for place in held_out], [second[place] for place in held_out])
    else:  # as it was: checked in the calibration's own minutes
        table = validate(table, [NETWORKS[place] for place in held_out], [first[place] for place in held_out])
    predictor, later = Predictor(table), timed(np.arange(80.0, 140.0), 6)
    intervals = [predictor.predict(blocks) for blocks in UNSEEN]
    return float(np.mean([p.low_ms <= ms <= p.high_ms for p, ms in zip(intervals, later, strict=True)]))


@pytest.mark.parametrize(("between", "within"), [(0.002, 0.005), (0.007, 0.012), (0.01, 0.01), (0.02, 0.015)])
def test_intervals_hold_networks_of_another_session(between: float, within: float) -> None:
    rng = np.random.default_rng(0)
    assert 0.85 <= np.mean([_inside(between, within, rng) for _ in range(100)]) <= 0.97


def test_without_the_sessions_they_would_not() -> None:
    """What the tables of earlier versions did: the error of the calibration's own minutes alone."""
    rng = np.random.default_rng(0)
    assert np.mean([_inside(0.02, 0.015, rng, sessions=False) for _ in range(100)]) < 0.7


def test_sessions_that_differed_widen_and_few_that_agreed_do_not_narrow_to_nothing() -> None:
    agreed, differed = session_error(np.zeros(4), [0.0]), session_error(np.array([0.0, 0.03, -0.02, 0.01]), [0.04])
    assert 0.002 < agreed < 0.006
    assert differed > 3 * agreed
    assert session_error(np.zeros(4), [0.05]) > 2 * agreed


def test_the_interval_joins_scatter_and_sessions() -> None:
    told = Steadiness(references_ms={"r": [1.0]}, moved=0, networks=0, settled=0, session_error=0.04)
    # All networks took a hundredth longer than predicted, and 3% more or less: another session may not share that.
    measured = [1.01 * size * (1.03 if place % 2 else 0.97) for place, size in enumerate(SIZES)]
    checked = validate(_table(told), NETWORKS, measured)
    assert checked.validation
    assert checked.validation.scatter_p90 == pytest.approx(0.03, abs=0.003)
    assert checked.validation.p90 == pytest.approx(0.04, abs=0.005)
    prediction = Predictor(checked).predict(NETWORKS[0])
    assert prediction.high_ms / prediction.latency_ms - 1 == pytest.approx(0.05, abs=0.002)


def test_an_interval_is_never_narrower_than_the_errors_that_were_seen() -> None:
    """What all networks share may be the session's or the calibration's own: nobody can tell from one session."""
    told = Steadiness(references_ms={"r": [1.0]}, moved=0, networks=0, settled=0, session_error=0.015)
    measured = [1.1 * size * (1.02 if place % 2 else 0.98) for place, size in enumerate(SIZES)]
    checked = validate(_table(told), NETWORKS, measured)
    assert checked.validation
    prediction = Predictor(checked).predict(NETWORKS[0])
    assert prediction.high_ms / prediction.latency_ms - 1 == pytest.approx(checked.validation.p90)
    assert (checked.validation.p90 or 0) > 0.09
