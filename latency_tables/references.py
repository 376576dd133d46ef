"""Reference networks: a few fixed ones, timed again and again, that show when a device is not what it was.

Validation in the same minutes cannot see a machine that was slow all along, and the error of a calibration cannot see
how much the next session will differ. References are timed in sessions of their own from the beginning of a profile to
its end, and are compared with those of earlier tables of the same device.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path

import numpy as np
from scipy.stats import t as student

from .device import Device, OnnxModel
from .gate import judge
from .measuring import Rounds, measure
from .table import LatencyTable
from .table_parts import BlockLatency, Precision, Steadiness

COUNT = 5
"""How many networks, from the smallest of a space to its largest."""

# A few sessions of one minute say little of how much sessions differ, so they are taken together with what was usual on
# a rented server: nine tables and six other sessions of 60 networks, half of them beside other work, differed by 0.27%
# in the root mean square, so each by 0.2% (`make experiment-latency-load`). It counts as two sessions more.
_USUAL_SPREAD = 0.002
_USUAL_DEGREES = 2


@dataclass
class References:
    """Networks whose times are looked at now and then.

    Args:
        device: where.
        models: by digest of their blocks.
        rounds: how often whole networks are timed.
        precision: of the models.
        folder: where raw samples are kept, a file for each moment; None keeps them in memory.
    """

    device: Device
    models: Mapping[str, OnnxModel]
    rounds: Rounds
    precision: Precision
    folder: Path | None = None
    moments: list[dict[str, BlockLatency]] = field(default_factory=list)

    def look(self) -> None:
        """Time all of them, in a session of its own.

        Raises:
            LatencyError: the device cannot measure one.
        """
        journal = self.folder / f"references-{len(self.moments) + 1}.jsonl" if self.folder else None
        self.moments.append(measure(self.device, self.models, self.rounds, precision=self.precision, journal=journal))

    @property
    def times_ms(self) -> dict[str, list[float]]:
        """Of each network, at every moment."""
        return {name: [moment[name].latency_ms for moment in self.moments] for name in self.models}


def steadiness(
    references: References,
    passes: Sequence[Mapping[str, BlockLatency]],
    earlier: Iterable[LatencyTable],
) -> Steadiness:
    """What references, and networks timed in one or two passes, say of a device.

    Args:
        references: looked at twice or more.
        passes: whole networks by name, each pass a session; the second may lack some of the first.
        earlier: tables to compare with, of whatever device.
    """
    times = references.times_ms
    speeds = np.median(np.log(np.array(list(times.values()))) - _means(times), axis=0)
    shifts = [_shift(first, second) for first, second in pairwise(passes)]
    timings = [timing for timed in passes for timing in timed.values()]
    slower, when = _compared(times, references, earlier)
    return Steadiness(
        references_ms={name: [round(each, 6) for each in row] for name, row in times.items()},
        moved=round(float(np.exp(speeds.max() - speeds.min()) - 1), 4),
        session_error=round(session_error(speeds, shifts), 4),
        networks=len(timings),
        settled=sum(timing.settled is not False for timing in timings),
        disturbed=_mean([timing.disturbed for timing in timings]),
        others=_mean([timing.others for timing in timings]),
        slower=slower,
        earlier=when,
    )


def session_error(speeds: np.ndarray, shifts: Sequence[float] = ()) -> float:
    """The relative difference that 90% of pairs of sessions stay below, one's table and another's measurements.

    Args:
        speeds: log of how long references took in each session, `[n]`.
        shifts: logs of how much longer one session took than another, of other pairs.
    """
    squares = float(((speeds - speeds.mean()) ** 2).sum() + sum(shift**2 / 2 for shift in shifts))
    degrees = _USUAL_DEGREES + len(speeds) - 1 + len(shifts)
    spread = np.sqrt((_USUAL_DEGREES * _USUAL_SPREAD**2 + squares) / degrees)
    return float(student.ppf(0.95, degrees) * np.sqrt(2) * spread)


def _means(times: Mapping[str, Sequence[float]]) -> np.ndarray:
    return np.log(np.array(list(times.values()))).mean(axis=1, keepdims=True)


def _shift(first: Mapping[str, BlockLatency], second: Mapping[str, BlockLatency]) -> float:
    both = [name for name in first if name in second]
    return float(np.median([np.log(second[name].latency_ms / first[name].latency_ms) for name in both]))


def _compared(
    times: Mapping[str, Sequence[float]], references: References, earlier: Iterable[LatencyTable]
) -> tuple[float | None, str | None]:
    """By how much the references are slower than in the fastest table that can be believed, and when that was."""
    fingerprint, found = references.device.fingerprint(), list[tuple[float, str | None]]()
    for table in earlier:
        theirs = table.steadiness.references_ms if table.steadiness else {}
        shared = [name for name in times if name in theirs]
        alike = table.device == fingerprint and table.precision == references.precision
        # The same samples, read again from their files, are no earlier measurement.
        if shared and alike and not _same(times, theirs) and judge(table).passed:
            ratios = [np.log(np.median(times[name]) / np.median(theirs[name])) for name in shared]
            found.append((round(float(np.expm1(np.median(ratios))), 4), table.created))
    return max(found, key=lambda pair: pair[0], default=(None, None))


def _same(times: Mapping[str, Sequence[float]], theirs: Mapping[str, Sequence[float]]) -> bool:
    return {name: [round(each, 6) for each in row] for name, row in times.items()} == dict(theirs)


def _mean(shares: Iterable[float | None]) -> float | None:
    told = [share for share in shares if share is not None]
    return round(sum(told) / len(told), 3) if told else None
