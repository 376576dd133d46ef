"""What a device must be able to do. Estimates, resuming, checks of outputs and tables are shared, on our side."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol, TypeAlias

import numpy as np

from .pulse import SLOWED

OnnxModel: TypeAlias = bytes | Path
"""A serialised ONNX model, or the path of one. Inputs are float32, and every shape is fixed."""

Fingerprint: TypeAlias = dict[str, str | int | float]
"""Everything that, if it changed, would make old measurements wrong.

Always there: `name` (the device, for people), `runtime` (library, version, engine), `threads` and `clock_us` (the
smallest step of its clock). Where it is not 1, `warm_runs`: of how many in a row a warm time is the shortest, see
`Sample`. As far as the device tells: `soc`, `machine`, `cores`, `max_mhz` (per core, as text), `governor`, `os`
(build), `affinity`. Nothing in it may change from one minute to the next.
"""


WARM_RUNS, WARM_MS = 4, 4.0
"""How many runs in a row a warm time is the shortest of, where they take less than this: see `Sample`."""

BUSY = 0.15
"""Share of a device's cores from which on what others do counts as a disturbance."""


@dataclass(frozen=True, slots=True)
class Sample:
    """One model timed in one round.

    Attributes:
        model: name of the model.
        round: number of the round, from 0.
        cold_ms: the first run after other models ran: the caches hold little of this one.
        warm_ms: the shortest of the runs directly after it: a short one does not fill the caches at once, so there are
            up to `WARM_RUNS`, until they took `WARM_MS` together. Browsers and GPUs time one.
        cpu_ms: processor time of the warm run, over all its threads; None where the device cannot tell.
        others: share of the device's cores that other work used around the run; None where the device cannot tell.
        slowness: how long a fixed piece of work took right before and right after, over its shortest; None where the
            device does not tell. See `Pulse`.
    """

    model: str
    round: int
    cold_ms: float
    warm_ms: float
    cpu_ms: float | None = None
    others: float | None = None
    slowness: float | None = None

    @property
    def is_told(self) -> bool:
        """Whether the device says anything of what else it was doing."""
        return any(told is not None for told in (self.cpu_ms, self.others, self.slowness))

    @property
    def is_disturbed(self) -> bool:
        """Whether others were in the way.

        They were when the warm run took over 10% longer than the processor worked on it, and when they kept other cores
        busy: those share caches, memory and power with the one that measures, and then the processor itself takes
        longer (half as long again was seen), so that both times agree. Whatever else makes it take longer shows in
        other work that it does.
        """
        waited = self.cpu_ms is not None and self.warm_ms > 1.1 * self.cpu_ms
        return waited or (self.others or 0) > BUSY or (self.slowness or 1) > SLOWED


@dataclass(frozen=True, slots=True)
class Conditions:
    """What a device says of itself at one moment; None where it does not.

    Attributes:
        temperature_c: the warmest sensor of the processor.
        frequency_mhz: the slowest clock among the cores that measure.
        others: share of the cores that other work is using.
    """

    temperature_c: float | None = None
    frequency_mhz: float | None = None
    others: float | None = None


class Device(Protocol):
    """Somewhere ONNX models run and can be timed.

    Attributes:
        id: short name, used in file names.
        kind: the family of devices, as targets and `devices.KINDS` name it.
    """

    id: str
    kind: str

    def prepare(self) -> None:
        """Connect, and bring what is needed; does only what is not done yet, and connects again after `DeviceLost`.

        Raises:
            LatencyError: the device cannot be used; the line says what to do.
            DeviceLost: it is not there at the moment.
        """
        ...

    def fingerprint(self) -> Fingerprint:
        """Who measures, with what; call `prepare` first."""
        ...

    def outputs(self, models: Mapping[str, OnnxModel]) -> dict[str, np.ndarray]:
        """The first output of each model on its `probe_input`, as `probe_values` of it (float32, at most 4,096).

        Raises:
            LatencyError: a model does not load or run there.
            DeviceLost: the device went away.
        """
        ...

    def measure(self, models: Mapping[str, OnnxModel], rounds: range) -> Iterator[Sample]:
        """Time every model once per round, all models of a round one after the other, samples as they are taken.

        Interleaving spreads a disturbance of the device over all models instead of spoiling one of them.

        Args:
            models: by name; any text may be a name.
            rounds: the numbers of the rounds; later calls continue where earlier ones stopped.

        Raises:
            LatencyError: a model does not load or run.
            DeviceLost: the device went away; samples that were taken before have been given.
        """
        ...

    def conditions(self) -> Conditions:
        """Temperature and clock now."""
        ...

    def close(self) -> None:
        """Let go of the device; it leaves nothing running."""
        ...
