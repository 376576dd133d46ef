"""Brings what the search predicted onto the line that the measured picks drew."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from ...exporters.pages.formatting import number
from .run_files import RunFiles, Scored, as_dict


def corrected(run: RunFiles) -> list[Scored]:
    """What the search scored, its latencies as the table says them since the picks were measured.

    A table prices a network by a line, `intercept + slope * sum of blocks`. Measuring the picks draws that line anew;
    picks and limit lie on the new one, and the other architectures would lie on the old one beside them.
    """
    before, after = _line(run.table), _line(run.corrected_table)
    if before is None or after is None or before == after or before[2] != after[2]:
        return run.scored
    return [_moved(scored, before, after, run) for scored in run.scored]


def _line(table: dict[str, Any]) -> tuple[float, float, Any] | None:
    """Intercept in ms, slope, and what the sum is made of."""
    line = as_dict(table.get("calibration"))
    intercept, slope = number(line.get("intercept_ms")), number(line.get("slope"))
    if intercept is None or not slope:
        return None
    factor = number(as_dict(table.get("network_factor")).get("factor")) or 1.0
    return intercept * factor, slope * factor, line.get("cold_share")


def _moved(scored: Scored, before: tuple[float, float, Any], after: tuple[float, float, Any], run: RunFiles) -> Scored:
    ms = scored.values["latency_ms"]
    if not ms:
        return scored
    now = after[0] + after[1] * (ms - before[0]) / before[1]
    upper = scored.values["latency_upper_ms"]
    moved = {"latency_ms": now, "latency_upper_ms": None if upper is None else upper * now / ms}
    values = scored.values | moved
    kept = run.keeps_limits(values)
    feasible = scored.feasible if kept is None else kept
    return replace(scored, values=values, feasible=feasible, on_front=scored.on_front and feasible)
