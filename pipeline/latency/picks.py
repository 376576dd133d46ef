"""Stage `picks`: what the search picked is measured on the device, and what breaks its latency limit makes way."""

from __future__ import annotations

import csv
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, TypeAlias

from ...common.files import write_atomic, write_json
from ...common.reading import read_json, read_text
from ...common.text import shown
from ...latency_tables import BlockLatency, Device, LatencyTable, Predictor, Rounds, measure_networks, recalibrate
from ...latency_tables.table_parts import Precision
from ...models import Architecture, Block
from ..console import console, progress_bar
from ..errors import UserError
from ..runs.run import Workspace
from ..search.limits import Limit
from ..search.quantities import chance_in_words

VERSION = 4
OUTPUTS = ("picks.json", "measured.json", "table.json")

_JOURNALS = {"fp32": "picks.jsonl", "int8": "picks-int8.jsonl"}
_FLAGS = ("feasible", "on_front", "generation", "extrapolated")  # columns of pareto.csv that are no quantities

Row: TypeAlias = dict[str, Any]
BlocksOf: TypeAlias = Callable[[Architecture], Sequence[Block]]


@dataclass
class Checked:
    """The networks of a search in one precision: what is known of their latency, and what is allowed.

    Attributes:
        table: what the search predicted with; measurements correct it.
        limit: on latency; None when the search had none.
    """

    table: LatencyTable
    limit: Limit | None
    timed: _Timings | None = None

    @property
    def predicted(self) -> str:
        """What rows call the prediction."""
        return "latency_ms" if self.table.precision == "fp32" else "latency_int8_ms"

    def measure(self, networks: Mapping[str, Sequence[Block]], timed: _Timings) -> None:
        """Time networks, and let the table and a limit that follows it learn from that."""
        self.timed = timed
        timed.measure(networks, self.limit)
        settled = [name for name in networks if timed.timings[name].settled is not False]
        if settled and self.table.blocks and self.table.device == timed.device.fingerprint():
            # What others slowed must not make the table of an undisturbed device slower.
            improved = recalibrate(self.table, [networks[name] for name in settled], [timed.ms(n) for n in settled])
            self.limit = self.limit and under(self.limit, self.table, improved)
            self.table = improved

    def is_late(self, architecture: str) -> bool:
        """Whether a measured network breaks the limit."""
        assert self.timed
        return self.limit is not None and self.timed.ms(architecture) > self.limit.value

    def keeps(self, blocks: Sequence[Block]) -> bool:
        """Whether a network is predicted, now, to keep the limit."""
        return self.limit is None or Predictor(self.table).predict(blocks).latency_ms <= self.limit.value

    def described(self, row: Row, blocks: Sequence[Block]) -> Row:
        """What the table says now, with the interval; what was measured; else the chance that the limit holds."""
        prediction = Predictor(self.table).predict(blocks)
        part = "" if self.table.precision == "fp32" else f"{self.table.precision}_"
        said: Row = {
            f"latency_{part}ms": prediction.latency_ms,
            f"latency_{part}low_ms": prediction.low_ms,
            f"latency_{part}high_ms": prediction.high_ms,
        }
        if "latency_upper_ms" in row and not part:
            said["latency_upper_ms"] = prediction.high_ms
        if self.timed:
            return said | {f"measured_{part}ms": self.timed.ms(row["architecture"])}
        if self.limit:
            chance = round(prediction.chance_within(self.limit.value), 4)
            said["limit_chance"] = row.get("limit_chance", {}) | {self.limit.quantity: chance}
        return said

    def in_words(self, row: Row) -> str:
        """What a described row says of its latency and of the limit."""
        part, what = ("", "") if self.table.precision == "fp32" else (f"{self.table.precision}_", " in int8")
        low, high = row[f"latency_{part}low_ms"], row[f"latency_{part}high_ms"]
        words = f"predicted {row[f'latency_{part}ms']:.3g} ms{what} ({low:.3g} to {high:.3g})"
        if self.timed:
            words = f"measured {row[f'measured_{part}ms']:.3g} ms{what}, {words}"
            kept = "exceeded" if self.is_late(row["architecture"]) else "kept"
            return f"{words}; limit {self.limit.value:.3g} ms: {kept} when measured" if self.limit else words
        if self.limit is None:
            return f"{words}, not measured"
        chance = row["limit_chance"][self.limit.quantity]
        sure = f"kept as predicted, not measured (chance {chance_in_words(chance)})"
        return f"{words}; limit {self.limit.value:.3g} ms: {sure}"


def under(limit: Limit, before: LatencyTable, after: LatencyTable) -> Limit:
    """The latency limit that stands for the same sum of blocks after the calibration changed."""
    if not (limit.is_relative and before.calibration and after.calibration):
        return limit
    total = (limit.value - before.calibration.intercept_ms) / before.calibration.slope
    return replace(limit, value=after.calibration.intercept_ms + after.calibration.slope * total)


def check_picks(
    search_folder: Path,
    limit: Limit | None,
    table: LatencyTable,
    blocks_of: BlocksOf,
    device: Device | None,
    rounds: Rounds,
    workspace: Workspace,
    int8: Checked | None = None,
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
        int8: the same of networks in 8 bits, where the search limited those or aimed at them: they are measured too.

    Raises:
        UserError: no architecture that the search found keeps the limit on the device.
    """
    picks: list[Row] = read_json(search_folder / "picks.json")
    checks = [Checked(table, limit), *([int8] if int8 else [])]
    if device is None:
        final = [_described(row, checks, blocks_of) for row in picks]
        _tell(final, checks)
        _write(workspace, final, {}, table)
        return
    timings = [
        _Timings(device, rounds, check.table.precision, workspace.folder / _JOURNALS[check.table.precision])
        for check in checks
    ]
    reserve = _reserve(search_folder / "pareto.csv", {row["architecture"] for row in picks})
    kept: list[Row] = []
    dropped: dict[str, str] = {}  # in words, by the limit that they broke: it may move on
    waiting = picks
    with progress_bar("measure picks", len(picks)) as bar:
        while waiting:
            networks = {row["architecture"]: blocks_of(Architecture.parse(row["architecture"])) for row in waiting}
            for check, timed in zip(checks, timings, strict=True):
                check.measure(networks, timed)
            # Also those that were kept before: a relative limit moves with what was measured since.
            judged, before = [*kept, *waiting], len(kept)
            late = [row for row in judged if any(check.is_late(row["architecture"]) for check in checks)]
            kept = [row for row in judged if row not in late]
            dropped |= {row["architecture"]: _why_dropped(row, checks) for row in late}
            waiting = [after for row in late if (after := _next(row, reserve, checks, blocks_of))]
            bar.advance(f"{len(kept)} kept, {len(dropped)} over the limit", by=len(kept) - before)
    if dropped and not kept:
        limits = " and ".join(_limit_in_words(check) for check in checks if check.limit)
        raise UserError(
            f"every pick takes longer than {limits} when it is measured on {device.fingerprint()['name']}: "
            "raise the limit, or search with a table that was measured there"
        )
    for timed in timings:
        _warn_of_unsettled(timed)
    for architecture, reason in dropped.items():
        console.print(f"[yellow]dropped {shown(architecture)}: {reason}[/]", soft_wrap=True)
    final = sorted((_described(row, checks, blocks_of) for row in kept), key=lambda row: row["latency_ms"])
    for number, row in enumerate(final, start=1):
        row["name"] = f"pick-{number}"
    _tell(final, checks)
    record = _record(checks[0]) | {"device": device.fingerprint(), "dropped": list(dropped)}
    if int8:
        record["int8"] = _record(int8)
    _write(workspace, final, record, checks[0].table)


def _described(row: Row, checks: Sequence[Checked], blocks_of: BlocksOf) -> Row:
    blocks = blocks_of(Architecture.parse(row["architecture"]))
    for check in checks:
        row = row | check.described(row, blocks)
    return row


def _tell(picks: Sequence[Row], checks: Sequence[Checked]) -> None:
    for row in picks:
        words = "; ".join(check.in_words(row) for check in checks)
        console.print(f"{row['name']:8} {shown(words)}", soft_wrap=True)


def _warn_of_unsettled(timed: _Timings) -> None:
    for name, timing in timed.timings.items():
        if timing.settled is False:
            disturbed = f", {timing.disturbed:.0%} of them disturbed" if timing.disturbed else ""
            console.print(
                f"[yellow]{shown(name)} did not settle in {timing.rounds} rounds{disturbed}: undisturbed it may take "
                f"less than the {timing.latency_ms:.3g} ms that were measured[/]",
                soft_wrap=True,
            )


def _limit_in_words(check: Checked) -> str:
    assert check.limit
    return f"{check.limit.value:.3g} ms{'' if check.table.precision == 'fp32' else ' in int8'}"


def _why_dropped(row: Row, checks: Sequence[Checked]) -> str:
    reasons: list[str] = []
    for check in checks:
        if check.is_late(row["architecture"]):
            assert check.timed
            measured = check.timed.ms(row["architecture"])
            found = f"predicted {row[check.predicted]:.3g} ms, measured {measured:.3g} ms"
            reasons.append(f"{found}, over the limit of {_limit_in_words(check)}")
    return "; ".join(reasons)


def _record(check: Checked) -> dict[str, Any]:
    assert check.timed
    return {
        "limit_ms": check.limit.value if check.limit else None,
        "quantity": check.limit.quantity if check.limit else None,
        "timings": {name: timing.model_dump(exclude_none=True) for name, timing in check.timed.timings.items()},
    }


class _Timings:
    """What networks take on the device, by architecture."""

    def __init__(self, device: Device, rounds: Rounds, precision: Precision, journal: Path) -> None:
        self._precision: Precision = precision
        self.device, self._rounds, self._journal = device, rounds, journal
        self.timings: dict[str, BlockLatency] = {}

    def ms(self, architecture: str) -> float:
        return self.timings[architecture].latency_ms

    def measure(self, networks: Mapping[str, Sequence[Block]], limit: Limit | None) -> None:
        """Nothing is late on the word of one look: others may have been using the device."""
        self._measure(networks, self._rounds)
        late = {name: blocks for name, blocks in networks.items() if limit and self.ms(name) > limit.value}
        if late:
            twice = 2 * max(self.timings[name].rounds for name in late)
            self._measure(late, Rounds(twice, twice))

    def _measure(self, networks: Mapping[str, Sequence[Block]], rounds: Rounds) -> None:
        self.timings |= measure_networks(
            self.device, networks, rounds, precision=self._precision, journal=self._journal
        )


def _reserve(path: Path, taken: set[str]) -> list[Row]:
    """Architectures that may step in: feasible ones, those on the front first, then by accuracy."""
    rows = [
        {name: row[name] if name == "architecture" else float(row[name]) for name in row}
        for row in csv.DictReader(read_text(path).splitlines())
    ]
    free = {row["architecture"]: row for row in rows if row["feasible"] and row["architecture"] not in taken}
    return sorted(free.values(), key=lambda row: (-row["on_front"], -row["accuracy"]))


def _next(
    dropped: Row,
    reserve: list[Row],
    checks: Sequence[Checked],
    blocks_of: BlocksOf,
) -> Row | None:
    """The best of the reserve that is predicted, now, to be faster than a dropped pick and within the limits."""
    late = [check.predicted for check in checks if check.is_late(dropped["architecture"])]
    for row in reserve:
        blocks = blocks_of(Architecture.parse(row["architecture"]))
        if all(row[name] < dropped[name] for name in late) and all(check.keeps(blocks) for check in checks):
            reserve.remove(row)
            values = {name: value for name, value in row.items() if name not in _FLAGS}
            return {"name": dropped["name"], "extrapolated": bool(row["extrapolated"])} | values
    return None


def _write(workspace: Workspace, picks: list[Row], measured: dict[str, Any], table: LatencyTable) -> None:
    write_json(workspace.folder / "picks.json", picks)
    write_json(workspace.folder / "measured.json", measured)
    write_atomic(workspace.folder / "table.json", table.to_json())
