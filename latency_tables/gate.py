"""The gate: which tables a search may trust."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from .errors import LatencyError
from .table import LatencyTable

WITHIN_10 = 0.90
"""Share of whole networks that a measured table must predict within 10%."""

GROUPED_MAPE = 0.10
"""Largest mean error of a fitted table on groups of blocks that were held out of the fit."""

LEAST_NETWORKS = 10
"""With fewer networks a share within 10% says little."""


@dataclass(frozen=True, slots=True)
class Verdict:
    """What the gate says of a table.

    Attributes:
        state: `validated` (checked on whole networks), `fitted` (passed on held-out blocks only: nobody measured a
            network), `unvalidated` (not checked) or `failed` (checked, and not good enough).
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
        return Verdict("validated" if checked.within_10 >= WITHIN_10 else "failed", figure)
    return Verdict("unvalidated", "its predictions were never compared with measurements")


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
