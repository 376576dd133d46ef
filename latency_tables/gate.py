"""The gate: which tables a search may trust."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from .errors import LatencyError
from .table import LatencyTable
from .table_parts import BlockLatency, Steadiness

WITHIN_10 = 0.90
"""Share of whole networks that a measured table must predict within 10%."""

GROUPED_MAPE = 0.10
"""Largest mean error of a fitted table on groups of blocks that were held out of the fit."""

LEAST_NETWORKS = 10
"""With fewer networks a share within 10% says little."""

MOVED = 0.03
"""By how much references may become slower while a table is measured, or be slower than in an earlier table."""

SETTLED = 0.90
"""Share of blocks, and of whole networks, whose shortest times must agree."""

DISTURBED = 0.50
"""Share of runs that others may get in the way of."""

OTHERS = 0.05
"""Share of the cores below which what slows a device is nothing that its user could close."""

_AGAIN = "then measure again with the same command"
_CLOSE = f"close what else runs there, {_AGAIN}"
_HIDDEN = f"something that it does not tell of slows it (heat, power saving, other virtual machines): wait, {_AGAIN}"


@dataclass(frozen=True, slots=True)
class Verdict:
    """What the gate says of a table.

    Attributes:
        state: `validated` (checked on whole networks), `fitted` (passed on held-out blocks only: nobody measured a
            network), `unvalidated` (not checked, or on a device that was not itself) or `failed` (checked, and not good
            enough).
        figure: the number it was judged by, in words.
    """

    state: Literal["validated", "fitted", "unvalidated", "failed"]
    figure: str

    @property
    def passed(self) -> bool:
        """Whether a search may use the table."""
        return self.state in ("validated", "fitted")


def judge(table: LatencyTable) -> Verdict:
    """Whether a table keeps its promise well enough to be searched with."""
    checked = table.validation
    if checked is not None and table.kind == "fitted" and checked.grouped_mape is not None:
        figure = (
            f"mean error {checked.grouped_mape:.1%} on held-out groups of {checked.n} blocks (limit {GROUPED_MAPE:.0%})"
        )
        return Verdict("fitted" if checked.grouped_mape <= GROUPED_MAPE else "failed", figure)
    if checked is not None and table.kind != "fitted" and checked.within_10 is not None:
        figure = f"{checked.within_10:.0%} of {checked.n} networks within 10% (needs {WITHIN_10:.0%})"
        if checked.n < LEAST_NETWORKS:
            return Verdict("unvalidated", f"checked on {checked.n} networks only (needs {LEAST_NETWORKS})")
        if trouble := unsteady(table):
            return Verdict("unvalidated", trouble)
        return Verdict("validated" if checked.within_10 >= WITHIN_10 else "failed", figure)
    return Verdict("unvalidated", "its predictions were never compared with measurements")


def unsteady(table: LatencyTable) -> str | None:
    """Why nothing that was measured for a table can be relied on, and what to do; None where nothing speaks against it.

    Predictions and the networks they are compared with are slowed alike by what else a device does, so that a table
    can be wrong by half and agree with all of them.
    """
    blocks, seen = list(table.blocks.values()), table.steadiness
    shares = [block.disturbed for block in blocks if block.disturbed is not None]
    disturbed = max([sum(shares) / len(shares) if shares else 0.0, (seen and seen.disturbed) or 0.0])
    others = _others(blocks, seen)
    is_hidden = disturbed < DISTURBED / 5 if others is None else others < OTHERS
    advice = _HIDDEN if is_hidden else _CLOSE
    by_others = f", other work used {others:.0%} of the cores" if others else ""
    if disturbed > DISTURBED:
        return f"{disturbed:.0%} of the runs were disturbed{by_others}: {advice}"
    if seen and seen.slower is not None and seen.slower > MOVED:
        return (
            f"references take {seen.slower:.1%} longer than in the table of {seen.earlier} (limit {MOVED:.0%})"
            f"{by_others}: {advice}; if the device is slower for good, remove that table first"
        )
    if seen and seen.moved > MOVED:
        return f"references moved by {seen.moved:.1%} while it was measured (limit {MOVED:.0%}){by_others}: {advice}"
    told = [block.settled for block in blocks if block.settled is not None]
    for what, of, settled in (
        ("blocks", len(told), sum(told)),
        ("networks", seen.networks if seen else 0, seen.settled if seen else 0),
    ):
        if settled < SETTLED * of:
            figure = f"the times of {settled} of {of} {what} settled (needs {SETTLED:.0%})"
            return f"{figure}{by_others}: {advice}"
    return None


def _others(blocks: Sequence[BlockLatency], seen: Steadiness | None) -> float | None:
    """The share of the cores that other work used, of blocks or of networks, whichever is larger; None if untold."""
    told = [block.others for block in blocks if block.others is not None]
    shares = [sum(told) / len(told) if told else None, seen.others if seen else None]
    return max((share for share in shares if share is not None), default=None)


def require_trust(
    table: LatencyTable, allow_unvalidated: bool, how_to_measure: str = "fairnas profile --validate"
) -> Verdict:
    """Let a table through, or say why not, and which command measures the device.

    Raises:
        LatencyError: the table fails, or was not checked, and that is not allowed.
    """
    verdict = judge(table)
    if not verdict.passed and not allow_unvalidated:
        raise LatencyError(
            f"latency table {table.name} is {verdict.state}: {verdict.figure}; measure the device with "
            f"`{how_to_measure}`, or accept the table with --allow-unvalidated"
        )
    return verdict
