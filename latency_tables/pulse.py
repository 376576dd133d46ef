"""Whether a processor is as fast at the moment as it can be, told by a short fixed piece of work.

What slows a processor without using its time is counted nowhere: another virtual machine on the other half of a core, a
lower clock. On a rented server the same 16 microseconds of work took 27 for a third of the time, in bursts of a tenth
of a millisecond to some tens of them: looking right before and right after a run tells whether it was in one.
"""

from __future__ import annotations

import time
from collections.abc import Callable

import numpy as np

SLOWED = 1.1
"""How many times its shortest on the work takes where something is in the way."""

_SIZE, _PRODUCTS = 64, 2  # 16 KiB a matrix: they stay in the innermost cache, whatever ran before
_TRIES = 3  # the first brings them there, and a clock's interrupt spoils one
_FIRST_S = 0.2
_BURST_S = 0.05
_SHARE = 0.5


class Pulse:
    """Looks again and again, and compares with the shortest that it ever saw.

    Args:
        work: that is timed; by default a product of small matrices.
        clock: in seconds.
    """

    def __init__(
        self, work: Callable[[], object] | None = None, clock: Callable[[], float] = time.perf_counter
    ) -> None:
        self._work, self._clock = work or _product(), clock
        self._begun, self._waited = clock(), 0.0
        self._shortest = float("inf")
        while clock() < self._begun + _FIRST_S:
            self.slowness()

    def slowness(self) -> float:
        """How long the work takes now, over the shortest that it ever took: 1 or more."""
        taken = min(self._timed() for _ in range(_TRIES))
        self._shortest = min(self._shortest, taken)
        return taken / self._shortest

    def wait(self) -> float:
        """Until nothing is in the way, or a burst ought to be over; how slow it is then, see `slowness`.

        In all it waits for no more than half of the time: what stays is no burst, and has to be measured as it is.
        """
        begun = self._clock()
        end = begun + min(_BURST_S, _SHARE * (begun - self._begun) - self._waited)
        slowness = self.slowness()
        while slowness > SLOWED and self._clock() < end:
            slowness = self.slowness()
        self._waited += self._clock() - begun
        return slowness

    def _timed(self) -> float:
        begun = self._clock()
        self._work()
        return self._clock() - begun


def _product() -> Callable[[], object]:
    matrix = np.random.default_rng(0).random((_SIZE, _SIZE), np.float32)
    out = np.empty_like(matrix)

    def multiply() -> None:
        for _ in range(_PRODUCTS):
            np.matmul(matrix, matrix, out=out)

    return multiply
