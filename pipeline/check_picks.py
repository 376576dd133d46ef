"""Stage `picks`: what the search picked is measured on the device, and what breaks its latency limit makes way."""

from __future__ import annotations

import csv
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeAlias

from ..common.files import write_atomic, write_json
from ..common.text import shown
from ..latency_tables import (
    BlockLatency,
    Device,
    LatencyTable,
    Predictor,
    Rounds,
    measure_networks,
    recalibrate,
)
from ..latency_tables.table import Precision
from ..models import Architecture, Block
from .console import console, progress_bar
from .errors import UserError
from .runs import Workspace

VERSION = 3
OUTPUTS = ("picks.json", "measured.json", "table.json")

_FLAGS = ("feasible", "on_front", "generation", "extrapolated")  # columns of pareto.csv that are no quantities

Row: TypeAlias = dict[str, Any]
BlocksOf: TypeAlias = Callable[[Architecture], Sequence[Block]]


@dataclass(frozen=True)
class Limit:
    """A latency limit of the search.

    Attributes:
        ms: how much is allowed.
        is_relative: it was given as what the median network takes: it means networks, and follows the calibration.
    """

    ms: float
    is_relative: bool

    def under(self, before: LatencyTable, after: LatencyTable) -> Limit:
        """The limit that stands for the same sum of blocks after the calibration changed."""
        if not (self.is_relative and before.calibration and after.calibration):
            return self
        total = (self.ms - before.calibration.intercept_ms) / before.calibration.slope
        return Limit(after.calibration.intercept_ms + after.calibration.slope * total, self.is_relative)


def check_picks(
    search_folder: Path,
    limit: Limit | None,
    table: LatencyTable,
    blocks_of: BlocksOf,
    device: Device | None,
    rounds: Rounds,
    workspace: Workspace,
) -> None:
    """Write the final picks, what was measured, and the table that these measurements improved.

    Args:
        search_folder: with `picks.json` and `pareto.csv`.
        limit: on latency; None when the search had none.
        table: what the search predicted with.
        blocks_of: the blocks of an architecture at deploy size.
        device: where to measure; None leaves the picks as they were predicted.
        rounds: how often each network is timed; those that seem late, twice as often.
        workspace: where to write.

    Raises:
        UserError: no architecture that the search found keeps the limit on the device.
    """
    picks: list[Row] = json.loads((search_folder / "picks.json").read_text())
    if device is None:
        _write(workspace, [_predicted(row, table, blocks_of) for row in picks], {}, table)
        return
    timed = _Timings(device, rounds, table.precision, workspace.folder / "picks.jsonl")
    reserve = _reserve(search_folder / "pareto.csv", {row["architecture"] for row in picks})
    kept: list[Row] = []
    dropped: list[Row] = []
    waiting = picks
    with progress_bar("measure picks", len(picks)) as bar:
        while waiting:
            networks = {row["architecture"]: blocks_of(Architecture.parse(row["architecture"])) for row in waiting}
            timed.measure(networks, limit)
            settled = [name for name in networks if timed.timings[name].settled is not False]
            if settled and table.blocks and table.device == device.fingerprint():
                # What others slowed must not make the table of an undisturbed device slower.
                improved = recalibrate(table, [networks[name] for name in settled], [timed.ms(n) for n in settled])
                limit = limit and limit.under(table, improved)
                table = improved
            late = [row for row in waiting if limit and timed.ms(row["architecture"]) > limit.ms]
            kept += [row for row in waiting if row not in late]
            dropped += late
            waiting = [after for row in late if (after := _next(row, reserve, limit, table, blocks_of))]
            bar.advance(f"{len(kept)} kept, {len(dropped)} over the limit", by=len(networks) - len(late))
    if limit and not kept:
        raise UserError(
            f"every pick takes longer than {limit.ms:.3g} ms when it is measured on {device.fingerprint()['name']}: "
            "raise the limit, or search with a table that was measured there"
        )
    for name, timing in timed.timings.items():
        if timing.settled is False:
            disturbed = f", {timing.disturbed:.0%} of them disturbed" if timing.disturbed else ""
            console.print(
                f"[yellow]{name} did not settle in {timing.rounds} rounds{disturbed}: undisturbed it may take less "
                f"than the {timing.latency_ms:.3g} ms that were measured[/]",
                soft_wrap=True,
            )
    for row in dropped:
        assert limit
        console.print(
            f"[yellow]dropped {shown(row['architecture'])}: predicted {row['latency_ms']:.3g} ms, measured "
            f"{timed.ms(row['architecture']):.3g} ms, over the limit of {limit.ms:.3g} ms[/]",
            soft_wrap=True,
        )
    final = sorted((_predicted(row, table, blocks_of) for row in kept), key=lambda row: row["latency_ms"])
    for number, row in enumerate(final, start=1):
        row |= {"name": f"pick-{number}", "measured_ms": timed.ms(row["architecture"])}
    record = {
        "device": device.fingerprint(),
        "limit_ms": limit.ms if limit else None,
        "dropped": [row["architecture"] for row in dropped],
        "timings": {name: timing.model_dump(exclude_none=True) for name, timing in timed.timings.items()},
    }
    _write(workspace, final, record, table)


class _Timings:
    """What networks take on the device, by architecture."""

    def __init__(self, device: Device, rounds: Rounds, precision: Precision, journal: Path) -> None:
        self._precision: Precision = precision
        self._device, self._rounds, self._journal = device, rounds, journal
        self.timings: dict[str, BlockLatency] = {}

    def ms(self, architecture: str) -> float:
        return self.timings[architecture].latency_ms

    def measure(self, networks: Mapping[str, Sequence[Block]], limit: Limit | None) -> None:
        """Nothing is late on the word of one look: others may have been using the device."""
        self._measure(networks, self._rounds)
        late = {name: blocks for name, blocks in networks.items() if limit and self.ms(name) > limit.ms}
        if late:
            self._measure(late, Rounds(2 * self._rounds.most, 2 * self._rounds.most))

    def _measure(self, networks: Mapping[str, Sequence[Block]], rounds: Rounds) -> None:
        self.timings |= measure_networks(
            self._device, networks, rounds, precision=self._precision, journal=self._journal
        )


def _predicted(row: Row, table: LatencyTable, blocks_of: BlocksOf) -> Row:
    """The row with what the table says now, and the interval, by every name that it goes by."""
    prediction = Predictor(table).predict(blocks_of(Architecture.parse(row["architecture"])))
    interval = {"latency_low_ms": prediction.low_ms, "latency_high_ms": prediction.high_ms}
    upper = {"latency_upper_ms": prediction.high_ms} if "latency_upper_ms" in row else {}
    return row | {"latency_ms": prediction.latency_ms} | interval | upper


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
    limit: Limit | None,
    table: LatencyTable,
    blocks_of: BlocksOf,
) -> Row | None:
    """The best of the reserve that is predicted, now, to be faster than a dropped pick and within the limit."""
    for row in reserve:
        prediction = Predictor(table).predict(blocks_of(Architecture.parse(row["architecture"])))
        if row["latency_ms"] < dropped["latency_ms"] and (not limit or prediction.latency_ms <= limit.ms):
            reserve.remove(row)
            values = {name: value for name, value in row.items() if name not in _FLAGS}
            return {"name": dropped["name"], "extrapolated": bool(row["extrapolated"])} | values
    return None


def _write(workspace: Workspace, picks: list[Row], measured: dict[str, Any], table: LatencyTable) -> None:
    write_json(workspace.folder / "picks.json", picks)
    write_json(workspace.folder / "measured.json", measured)
    write_atomic(workspace.folder / "table.json", table.to_json())
