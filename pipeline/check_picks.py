"""Stage `picks`: what the search picked is measured on the device, and what breaks its latency limit makes way."""

from __future__ import annotations

import csv
import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from ..latency_tables import (
    BlockLatency,
    Device,
    LatencyTable,
    Predictor,
    Rounds,
    measure_networks,
    recalibrate,
)
from ..latency_tables.files import write_atomic, write_json
from ..models import Architecture, Block
from .console import console, progress_bar
from .errors import UserError
from .runs import Workspace

VERSION = 1
OUTPUTS = ("picks.json", "measured.json", "table.json")

Row = dict[str, Any]


def check_picks(
    search_folder: Path,
    limit_ms: float | None,
    table: LatencyTable,
    blocks_of: Callable[[Architecture], Sequence[Block]],
    device: Device | None,
    rounds: Rounds,
    workspace: Workspace,
) -> None:
    """Write the final picks, what was measured, and the table that these measurements improved.

    Args:
        search_folder: with `picks.json` and `pareto.csv`.
        limit_ms: the latency limit of the search; None when it had none.
        table: what the search predicted with.
        blocks_of: the blocks of an architecture at deploy size.
        device: where to measure; None leaves the picks as they were predicted.
        rounds: how often each network is timed.
        workspace: where to write.

    Raises:
        UserError: no architecture that the search found keeps the limit on the device.
    """
    picks: list[Row] = json.loads((search_folder / "picks.json").read_text())
    if device is None:
        _write(workspace, [_predicted(row, table, blocks_of) for row in picks], {}, table)
        return
    reserve = _reserve(search_folder / "pareto.csv", {row["architecture"] for row in picks})
    timings: dict[str, BlockLatency] = {}
    kept: list[Row] = []
    dropped: list[Row] = []
    waiting = list(picks)
    with progress_bar("measure picks", len(picks)) as bar:
        while waiting:
            networks = {row["architecture"]: blocks_of(Architecture.parse(row["architecture"])) for row in waiting}
            timings |= measure_networks(
                device, networks, rounds, precision=table.precision, journal=workspace.folder / "picks.jsonl"
            )
            if table.blocks and table.device == device.fingerprint():
                measured_ms = [timings[name].latency_ms for name in networks]
                table = recalibrate(table, list(networks.values()), measured_ms)
            late = [row for row in waiting if limit_ms and timings[row["architecture"]].latency_ms > limit_ms]
            kept += [row for row in waiting if row not in late]
            dropped += late
            waiting = [after for row in late if (after := _next(row, reserve, limit_ms, table, blocks_of))]
            bar.advance(f"{len(kept)} kept, {len(dropped)} over the limit", by=len(networks) - len(late))
    if not kept:
        raise UserError(
            f"every pick takes longer than {limit_ms:g} ms when it is measured on {device.fingerprint()['name']}: "
            "raise the limit, or search with a table that was measured there"
        )
    for row in dropped:
        console.print(
            f"[yellow]dropped {row['architecture']}: predicted {row['latency_ms']:.3g} ms, measured "
            f"{timings[row['architecture']].latency_ms:.3g} ms, over the limit of {limit_ms:.3g} ms[/]",
            soft_wrap=True,
        )
    final = sorted((_predicted(row, table, blocks_of) for row in kept), key=lambda row: row["latency_ms"])
    for number, row in enumerate(final, start=1):
        row |= {"name": f"pick-{number}", "measured_ms": timings[row["architecture"]].latency_ms}
    record = {
        "device": device.fingerprint(),
        "limit_ms": limit_ms,
        "dropped": [row["architecture"] for row in dropped],
        "timings": {name: timing.model_dump(exclude_none=True) for name, timing in timings.items()},
    }
    _write(workspace, final, record, table)


def _predicted(row: Row, table: LatencyTable, blocks_of: Callable[[Architecture], Sequence[Block]]) -> Row:
    """The row with what the table says now, and the interval."""
    prediction = Predictor(table).predict(blocks_of(Architecture.parse(row["architecture"])))
    interval = {"latency_low_ms": prediction.low_ms, "latency_high_ms": prediction.high_ms}
    return row | {"latency_ms": prediction.latency_ms} | interval


def _reserve(path: Path, taken: set[str]) -> list[Row]:
    """Architectures that may step in: feasible ones, those on the front first, then by accuracy."""
    rows = [
        {name: row[name] if name == "architecture" else float(row[name]) for name in row}
        for row in csv.DictReader(path.read_text().splitlines())
    ]
    free = {row["architecture"]: row for row in rows if row["feasible"] and row["architecture"] not in taken}
    return sorted(free.values(), key=lambda row: (-row["on_front"], -row["accuracy"]))


def _next(
    dropped: Row,
    reserve: list[Row],
    limit_ms: float | None,
    table: LatencyTable,
    blocks_of: Callable[[Architecture], Sequence[Block]],
) -> Row | None:
    """The best of the reserve that is predicted, now, to be faster than a dropped pick and within the limit."""
    for row in reserve:
        prediction = Predictor(table).predict(blocks_of(Architecture.parse(row["architecture"])))
        if row["latency_ms"] < dropped["latency_ms"] and (not limit_ms or prediction.latency_ms <= limit_ms):
            reserve.remove(row)
            values = {name: row[name] for name in ("architecture", "accuracy", "latency_ms", "madds", "params")}
            return {"name": dropped["name"], "extrapolated": bool(row["extrapolated"])} | values
    return None


def _write(workspace: Workspace, picks: list[Row], measured: dict[str, Any], table: LatencyTable) -> None:
    write_json(workspace.folder / "picks.json", picks)
    write_json(workspace.folder / "measured.json", measured)
    write_atomic(workspace.folder / "table.json", table.to_json())
