"""How much of this machine other processes use, while we measure on it."""

from __future__ import annotations

import os
import time
from pathlib import Path

_STAT = Path("/proc/stat")
_IDLE = slice(4, 6)  # of the line `cpu`: idle, and waiting for a disk


class OtherWork:
    """Share of all cores that others used since it was last asked.

    It counts what the cores were not idle, less the processor time of this process: other processes, the kernel, and
    what a hypervisor took away. Linux counts in hundredths of a second, so a tenth is the least to ask for.
    """

    def __init__(self, stat: Path = _STAT) -> None:
        self._stat = stat
        self._before = self._now()

    @property
    def seconds(self) -> float:
        """Since it was last asked."""
        return time.perf_counter() - self._before[0]

    def share(self) -> float | None:
        """Between 0 and 1; None where the system does not tell."""
        before, now = self._before, self._now()
        self._before = now
        wall, own = now[0] - before[0], now[1] - before[1]
        if before[2] is None or now[2] is None or wall <= 0:
            return None
        (idle_before, _), (idle, cores) = before[2], now[2]
        used = wall * cores - (idle - idle_before) - own
        return round(min(max(used / (wall * cores), 0.0), 1.0), 3)

    def _now(self) -> tuple[float, float, tuple[float, int] | None]:
        """Clock and own processor time, in seconds, and how long all cores were idle, and how many they are."""
        return time.perf_counter(), time.process_time(), _idle(self._stat)


def _idle(stat: Path) -> tuple[float, int] | None:
    try:
        lines = stat.read_text().splitlines()
        ticks = sum(int(field) for field in lines[0].split()[_IDLE])
        cores = sum(line.startswith("cpu") for line in lines) - 1
        return (ticks / os.sysconf("SC_CLK_TCK"), cores) if cores > 0 else None
    except (OSError, ValueError, IndexError):
        return None
