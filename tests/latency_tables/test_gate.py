"""The gate: which tables a search may trust, and what it says of the others."""

from __future__ import annotations

from typing import Any

import pytest
from fairnas.latency_tables import BlockLatency, LatencyError, LatencyTable, Sample, Validation, judge, require_trust
from fairnas.latency_tables.table import SCHEMA_VERSION
from fairnas.latency_tables.table_parts import FittedModel


def _table(kind: str, figures: dict[str, Any] | None) -> LatencyTable:
    parts: dict[str, Any] = {
        "blocks": {"b": BlockLatency.of([Sample("b", 0, 1.0, 1.0)])},
        "created": "2026-12-01T00:00:00+00:00",
    }
    if kind == "fitted":
        parts = {"model": FittedModel(coefficients={"launches": 1.0}, measured_ranges={})}
    return LatencyTable(
        schema_version=SCHEMA_VERSION,
        name="bench",
        kind=kind,  # pyright: ignore[reportArgumentType]
        device={"name": "a CPU"},
        runtime="r",
        source="s",
        validation=None if figures is None else Validation(by="test", **figures),
        **parts,
    )


NEVER = "its predictions were never compared with measurements"


@pytest.mark.parametrize(
    ("kind", "figures", "state", "figure"),
    [
        ("measured", {"n": 60, "within_10": 0.9}, "validated", "90% of 60 networks within 10% (needs 90%)"),
        ("measured", {"n": 60, "within_10": 0.8833}, "failed", "88% of 60 networks within 10% (needs 90%)"),
        ("scaled", {"n": 10, "within_10": 1.0}, "validated", "100% of 10 networks within 10% (needs 90%)"),
        ("measured", {"n": 9, "within_10": 1.0}, "unvalidated", "checked on 9 networks only (needs 10)"),
        ("measured", {"n": 60, "grouped_mape": 0.01}, "unvalidated", NEVER),
        ("measured", None, "unvalidated", NEVER),
        ("scaled", None, "unvalidated", NEVER),
        (
            "fitted",
            {"n": 56, "grouped_mape": 0.1},
            "fitted",
            "mean error 10.0% on held-out groups of 56 blocks (limit 10%)",
        ),
        (
            "fitted",
            {"n": 56, "grouped_mape": 0.1004},
            "failed",
            "mean error 10.0% on held-out groups of 56 blocks (limit 10%)",
        ),
        ("fitted", {"n": 56, "loo_mape": 0.01}, "unvalidated", NEVER),
        ("fitted", {"n": 56, "within_10": 1.0}, "unvalidated", NEVER),
        ("fitted", None, "unvalidated", NEVER),
    ],
)
def test_tables_are_judged_by_what_they_were_checked_on(
    kind: str, figures: dict[str, Any] | None, state: str, figure: str
) -> None:
    table = _table(kind, figures)
    verdict = judge(table)
    assert (verdict.state, verdict.figure) == (state, figure)
    assert verdict.passed == (state in ("validated", "fitted"))
    assert require_trust(table, allow_unvalidated=True) == verdict
    if verdict.passed:
        assert require_trust(table, allow_unvalidated=False) == verdict
    else:
        with pytest.raises(LatencyError) as refusal:
            require_trust(table, allow_unvalidated=False)
        assert str(refusal.value).startswith(f"latency table bench is {state}: {figure}; ")
        assert "fairnas profile --validate" in str(refusal.value)
        assert "--allow-unvalidated" in str(refusal.value)
        assert "\n" not in str(refusal.value)


@pytest.mark.parametrize(
    ("others", "advice"),
    [
        (None, "close what else runs there"),  # the device does not tell: most runs waited for somebody
        (0.02, "other virtual machines"),  # closing what hardly works would change nothing
        (0.3, "close what else runs there"),
    ],
)
def test_only_who_can_be_seen_is_to_be_closed(others: float | None, advice: str) -> None:
    table = _table("measured", {"n": 60, "within_10": 1.0})
    timing = table.blocks["b"].model_copy(update={"disturbed": 0.9, "others": others})
    verdict = judge(table.model_copy(update={"blocks": {"b": timing}}))
    assert verdict.state == "unvalidated"
    assert verdict.figure.startswith("90% of the runs were disturbed")
    assert advice in verdict.figure
