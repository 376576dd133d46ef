"""Tables that were measured here before: they tell how fast a device was."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from ...latency_tables import LatencyError, LatencyTable
from .listing import PROFILES


def earlier_tables(*more: Path) -> list[LatencyTable]:
    """Sound tables in `profiles/` and in other places.

    Args:
        more: paths of tables, there or not.
    """
    return _sound([*sorted(PROFILES.glob("*/table.json")), *more])


def tables_of_runs(folder: Path) -> list[Path]:
    """Where the runs in a folder keep the tables that they measured."""
    return sorted(folder.glob("*/latency/table.json"))


def _sound(paths: Sequence[Path]) -> list[LatencyTable]:
    tables: list[LatencyTable] = []
    for path in dict.fromkeys(paths):
        try:
            tables.append(LatencyTable.load(path))
        except (LatencyError, OSError):
            continue  # a table that cannot be read tells nothing
    return tables
