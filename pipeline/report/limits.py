"""Whether limits are kept, and how sure that is: measured, or only predicted with a chance."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from scipy.stats import norm

from ...exporters.pages.formatting import number
from ..search.quantities import chance_in_words
from .run_files import RunFiles, as_dict

LATENCIES = {
    "latency_ms": "measured_ms",
    "latency_upper_ms": "measured_ms",
    "latency_int8_ms": "measured_int8_ms",
}
"""What of a pick is predicted, and the name of what the device said of it."""

_INTERVAL = 0.9  # of measurements end inside a prediction's interval


@dataclass(frozen=True, slots=True)
class Kept:
    """What became of a network's limits.

    Attributes:
        kept: whether all are kept, by the best that is known.
        timed: whether a latency is among the limits; counts and scores are known exactly.
        measured: whether the target's device was asked for every latency among them.
        chance: that a measurement would find them kept; None where it was measured, or no interval is known.
    """

    kept: bool
    timed: bool
    measured: bool
    chance: float | None

    @property
    def answer(self) -> str:
        """One word, for a badge."""
        return "kept" if self.kept else "exceeded"

    @property
    def how(self) -> str:
        """How that is known, to stand after the answer."""
        if not self.timed:
            return ""
        if self.measured:
            return "when measured"
        sure = "" if self.chance is None or not self.kept else f"; chance {chance_in_words(self.chance)}"
        return f"as predicted, not measured{sure}"

    @property
    def colour(self) -> str:
        """Of the badge: only what was measured is good."""
        return "bad" if not self.kept else "good" if self.measured else "amber"


def kept(run: RunFiles, row: Mapping[str, Any], values: Mapping[str, float | None]) -> Kept | None:
    """Judge a network's limits.

    Args:
        run: whose limits they are.
        row: a pick or a prediction: its interval (`latency_low_ms`, `latency_high_ms`), and `measured_ms` where the
            device was there.
        values: by quantity, as predicted.
    """
    timed = [limit.quantity for limit in run.constraints if limit.quantity in LATENCIES]
    told = {quantity: ms for quantity in timed if (ms := number(row.get(LATENCIES[quantity]))) is not None}
    answer = run.keeps_limits(dict(values) | told)
    if answer is None:
        return None
    measured = len(told) == len(timed)
    return Kept(answer, bool(timed), measured, None if measured else _chance(run, row, values))


def _chance(run: RunFiles, row: Mapping[str, Any], values: Mapping[str, float | None]) -> float | None:
    """That a measured latency keeps its limit: by what the run says, else by the prediction's interval."""
    said = as_dict(row.get("limit_chance"))
    known = [chance for limit in run.constraints if (chance := number(said.get(limit.quantity))) is not None]
    if known:
        return min(known)
    ends = number(row.get("latency_low_ms")), number(row.get("latency_high_ms"))
    limits = [limit.value for limit in run.constraints if limit.quantity == "latency_ms"]
    middle = values.get("latency_ms")
    if ends[0] is None or ends[1] is None or middle is None or not limits or ends[1] <= ends[0]:
        return None
    spread = (ends[1] - ends[0]) / 2 / float(norm.ppf((1 + _INTERVAL) / 2))
    return float(norm.cdf((min(limits) - middle) / spread))


def in_words(judged: list[Kept]) -> str:
    """How sure it is that the limits of several networks are kept."""
    if not any(each.timed for each in judged):
        return "by exact counts and scores"
    if all(each.measured for each in judged):
        return "when measured on the target"
    chances = [each.chance for each in judged if each.kept and each.chance is not None]
    least = f"; the least sure with a chance of {chance_in_words(min(chances))}" if chances else ""
    some = "some only as predicted" if any(each.measured for each in judged) else "as predicted, not measured"
    return f"{some}{least}"
