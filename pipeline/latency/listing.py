"""What `fairnas targets` shows: where one can deploy, and how good the table of each device is."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from ...common.text import plain
from ...latency_tables import (
    LatencyError,
    LatencyTable,
    Predictor,
    Target,
    get_target,
    judge,
    list_tables,
    list_targets,
    load_table,
)
from ...latency_tables.runtimes.names import about_networks

PROFILES = Path("profiles")  # where `fairnas profile` leaves tables


def known_targets() -> list[dict[str, Any]]:
    """A row per target."""
    targets = [get_target(name) for name in list_targets()]
    return [
        {
            "name": target.name,
            "title": target.title,
            "measured by": target.kind.measured_by if target.kind else "nobody: table only",
            "table": target.table or "",
            "state": _usable(target),
            "formats": list(target.formats),
        }
        for target in targets
    ]


def _usable(target: Target) -> str:
    """What a search for the target has to go by."""
    if target.table is None:
        return "measured when it is there"
    try:
        verdict = judge(load_table(target.table))
    except LatencyError as error:
        return str(error)
    if verdict.passed:
        return f"its table is {verdict.state}"
    return f"refused as it is, its table is {verdict.state}: first {target.how_to_measure}, or --allow-unvalidated"


def known_tables() -> list[dict[str, Any]]:
    """A row per table: those that come with the package, and those profiled in this folder."""
    paths = sorted(PROFILES.glob("*/table.json"))
    return [_row(name, name) for name in list_tables()] + [_row(str(path), path) for path in paths]


def _row(shown: str, source: str | Path) -> dict[str, Any]:
    try:
        table = load_table(source)
        Predictor(table)
    except (LatencyError, OSError) as error:  # one damaged table must not hide the others
        nothing = dict.fromkeys(("device", "runtime", "kind", "precision", "blocks", "error", "age", "figure"), "")
        return nothing | {"table": plain(shown), "state": f"damaged: {error}"}
    return {
        "table": plain(shown),
        "device": plain(str(table.device["name"])),
        "runtime": plain(table.runtime),
        "kind": table.kind,
        "precision": table.precision,
        "blocks": len(table.blocks) or "a formula",
        "error": _error(table),
        "age": _age(table.created),
        "state": judge(table).state,
        "figure": "; ".join(filter(None, (judge(table).figure, about_networks(table)))),
    }


def _error(table: LatencyTable) -> str:
    checked = table.validation
    for value, what in ((checked and checked.mape, "networks"), (checked and checked.grouped_mape, "blocks")):
        if value is not None:
            return f"{value:.1%} of {what}"
    return "unknown"


def _age(created: str | None) -> str:
    if created is None:
        return ""
    when = datetime.fromisoformat(created)
    days = (datetime.now(UTC) - (when if when.tzinfo else when.replace(tzinfo=UTC))).days
    if days < 0:
        return "dated in the future"
    return "today" if days == 0 else f"{days} day{'s' if days > 1 else ''}"
