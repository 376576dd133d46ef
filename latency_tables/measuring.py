"""Measuring on any device: right answers first, then rounds until the times settle, through every interruption."""

from __future__ import annotations

import hashlib
import time
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass
from functools import cached_property
from math import ceil, inf
from pathlib import Path
from typing import TypeAlias

import numpy as np

from .device import BUSY, WARM_MS, Conditions, Device, OnnxModel, Sample
from .devices.host import HostDevice
from .errors import DeviceLost, LatencyError
from .journal import Journal
from .table_parts import BlockLatency

Progress: TypeAlias = Callable[[int, int], None]
"""Called with how many samples were taken and how many there will be at most."""

TOLERANCE = {"fp32": 1e-3, "int8": 0.05}
"""Largest difference from the host's outputs, relative to the largest output; rounding to 8 bits differs by device."""

_BATCH_BYTES = 256 * 2**20  # what a small board can hold of models at once
_COOL_DOWN_S = 120.0
_WARMER_C = 8.0
_SLOWER = 0.9
# How long to wait for other work, and how long at most for every round that there may be: bursts pass, a load stays.
_QUIET_S = 5.0
_QUIET_S_PER_ROUND = 0.05
_LOOK_AGAIN_S = 0.1
_TO_SETTLE = 3
# What slows a rented server without its knowing comes and goes within half a minute: the shortest times of ten networks
# in 5 seconds of running them moved by 12%, in 15 by 4% and in 30 by 1%, while three of them agree in any second.
_LONG_ENOUGH_S = 15.0
_OFTEN_ENOUGH = 100
_SLICE_S = 1.0


@dataclass(frozen=True, slots=True)
class Rounds:
    """How often to measure.

    Attributes:
        least: rounds that every model gets, and by how many it goes on.
        most: when to stop whatever the times do. Those that do not settle stop before: after a hundred rounds, when the
            models that are timed together have run for 15 seconds.
        settled: a model is done when its three shortest undisturbed times, and its shortest of all, lie within this
            share of each other.
    """

    least: int = 20
    most: int = 1000
    settled: float = 0.01


def measure(
    device: Device,
    models: Mapping[str, OnnxModel],
    rounds: Rounds | None = None,
    *,
    precision: str = "fp32",
    journal: Path | None = None,
    progress: Progress | None = None,
    patience_s: float = 60.0,
) -> dict[str, BlockLatency]:
    """Time models on a device.

    Args:
        device: where.
        models: what, by name; see `OnnxModel`.
        rounds: how often.
        precision: decides how closely outputs must agree with the host's before anything is timed.
        journal: the file of raw samples; what it holds already is not measured again.
        progress: called after every sample.
        patience_s: how long to wait for a device that went away.

    Raises:
        LatencyError: a model does not load, run or give the right answer there, or the device cannot be used.
        DeviceLost: it went away and did not return in time; what was measured is in the journal.
    """
    rounds = rounds or Rounds()
    if rounds.least < 1 or rounds.most < rounds.least:
        raise LatencyError(f"cannot measure in {rounds.least} to {rounds.most} rounds: ask for at least 1")
    device.prepare()
    digests = {name: _digest(model) for name, model in models.items()}
    with closing(Journal(journal, device.fingerprint(), digests)) as kept:
        session = _Session(device, kept, rounds, TOLERANCE[precision], patience_s)
        for batch in _batches(models):
            session.run(batch, len(models), progress)
        return {name: _summary(device, kept.samples[name], rounds.settled) for name in models}


@dataclass
class _Session:
    device: Device
    journal: Journal
    rounds: Rounds
    tolerance: float
    patience_s: float
    waited_for_quiet_s: float = 0.0

    def run(self, models: Mapping[str, OnnxModel], of: int, progress: Progress | None) -> None:
        """Verify and time one batch until every model has settled."""
        self._patiently(lambda: self._verify(models))
        while unfinished := self._unfinished(models):
            self._patiently(lambda unfinished=unfinished: self._some_rounds(unfinished, of, progress))

    def _verify(self, models: Mapping[str, OnnxModel]) -> None:
        """Refuse to time wrong answers; the host is what others are compared with."""
        unseen = {name: model for name, model in models.items() if name not in self.journal.verified}
        if self.device.kind == HostDevice.kind or not unseen:
            return
        reference = HostDevice().outputs(unseen)
        for name, output in self.device.outputs(unseen).items():
            error = relative_difference(output, reference[name])
            if not error <= self.tolerance:
                raise LatencyError(
                    f"{name} gives wrong answers on {self.device.id}: its outputs differ from this machine's by "
                    f"{error:.2g} of the largest (allowed {self.tolerance:g}), so its time would mean nothing"
                )
        self.journal.add_verified(list(unseen))
        self.journal.flush()

    def _some_rounds(self, models: Mapping[str, OnnxModel], of: int, progress: Progress | None) -> None:
        self._wait_until_cool()
        most = min(self.rounds.most, max(self.rounds.least, _OFTEN_ENOUGH))
        for numbers, behind in self._next_rounds(models):
            for sample in self.device.measure(behind, numbers):
                self.journal.add(sample)
                if progress:
                    progress(sum(min(len(taken), most) for taken in self.journal.samples.values()), of * most)
            self.journal.flush()

    def _next_rounds(self, models: Mapping[str, OnnxModel]) -> Iterator[tuple[range, dict[str, OnnxModel]]]:
        """Which rounds to measure next, of which models: first those that an interruption left behind."""
        taken = {name: len(self.journal.samples[name]) for name in models}
        ahead = max(taken.values())
        for count in sorted(set(taken.values()) - {ahead}):
            yield range(count, ahead), {name: model for name, model in models.items() if taken[name] == count}
        if len(set(taken.values())) == 1:
            yield range(ahead, min(ahead + self._step(models, ahead), self.rounds.most)), dict(models)

    def _step(self, models: Mapping[str, OnnxModel], ahead: int) -> int:
        """How many rounds until times are looked at again: a slice of running, where slices are compared."""
        if not any(_tells(self.journal.samples[name]) for name in models):
            return self.rounds.least
        a_round_s = sum(self._ran_s(models)) / ahead
        return max(self.rounds.least, ceil(_SLICE_S / max(a_round_s, 1e-6)))

    def _unfinished(self, models: Mapping[str, OnnxModel]) -> dict[str, OnnxModel]:
        """Told by the journal alone, so that what was finished is so when it is read again."""
        taken = {name: self.journal.samples[name] for name in models}
        is_long_enough = sum(self._ran_s(models)) >= _LONG_ENOUGH_S
        most = min(_OFTEN_ENOUGH, self.rounds.most) if is_long_enough else self.rounds.most
        steady = is_steady(list(taken.values()), self.rounds.settled, self._warm_runs)
        return {name: model for name, model in models.items() if not self._is_done(taken[name], most, steady)}

    def _is_done(self, samples: Sequence[Sample], most: int, steady: bool) -> bool:
        if len(samples) < self.rounds.least:
            return False
        return (steady and has_settled(samples, self.rounds.settled)) or len(samples) >= most

    def _wait_until_cool(self) -> None:
        """Log what the device says of itself; while it is hotter or slower than at the start, or busy, wait a while."""
        waited = 0.0
        while True:
            now = self.device.conditions()
            self.journal.add_conditions(now)
            if waited < _COOL_DOWN_S and _drifted(self.journal.conditions[:1], now):
                time.sleep(5)
                waited += 5
            elif (now.others or 0) > BUSY and self.waited_for_quiet_s < self._quiet_s:
                time.sleep(_LOOK_AGAIN_S)
                self.waited_for_quiet_s += 2 * _LOOK_AGAIN_S  # looking takes as long
            else:
                return

    def _ran_s(self, models: Iterable[str]) -> list[float]:
        return [_ran_s(self.journal.samples[name], self._warm_runs) for name in models]

    @cached_property
    def _warm_runs(self) -> int:
        return int(self.device.fingerprint().get("warm_runs", 1))

    @property
    def _quiet_s(self) -> float:
        return min(_QUIET_S, self.rounds.most * _QUIET_S_PER_ROUND)

    def _patiently(self, work: Callable[[], None]) -> None:
        """Do something on the device; when it goes away, wait for it and do it again.

        Patience begins anew whenever it has measured something since it was lost before.
        """
        deadline, measured_before = 0.0, -1
        while True:
            try:
                if measured_before >= 0:
                    self.device.prepare()
                    self.journal.check_device(self.device.fingerprint())
                return work()
            except DeviceLost as lost:
                self.journal.flush()
                measured = sum(map(len, self.journal.samples.values()))
                if measured > measured_before:
                    deadline, measured_before = time.monotonic() + self.patience_s, measured
                if time.monotonic() > deadline:
                    raise DeviceLost(f"{lost}; what was measured is kept: connect it and run the same again") from lost
                time.sleep(1)


def has_settled(samples: Sequence[Sample], within: float) -> bool:
    """Whether the shortest undisturbed times of a model, and the shortest of all, agree.

    Others never make a run faster: where a disturbed run was the shortest, the undisturbed ones have not been at their
    best yet.
    """
    undisturbed = sorted(sample.warm_ms for sample in samples if not sample.is_disturbed)
    if len(undisturbed) < _TO_SETTLE:
        return False
    return undisturbed[_TO_SETTLE - 1] <= min(sample.warm_ms for sample in samples) * (1 + within)


def _tells(samples: Sequence[Sample]) -> bool:
    """Whether a device tells its `slowness`."""
    return bool(samples) and samples[0].slowness is not None


def is_steady(models: Sequence[Sequence[Sample]], within: float, warm_runs: int = 1) -> bool:
    """Whether three seconds of running found models equally fast, in the median, and none found them faster.

    Always where the device does not tell its `slowness`: those that do are as quick as this.
    """
    if not any(map(_tells, models)):
        return True
    rounds = defaultdict[int, list[tuple[int, Sample]]](list)
    for place, samples in enumerate(models):
        for sample in samples:
            rounds[sample.round].append((place, sample))
    slices, in_slice_s = list[dict[int, float]](), inf
    for number in sorted(rounds):
        if in_slice_s >= _SLICE_S:
            slices.append({})
            in_slice_s = 0.0
        for place, sample in rounds[number]:
            slices[-1][place] = min(sample.warm_ms, slices[-1].get(place, inf))
            in_slice_s += _ran_s([sample], warm_runs)
    shortest = [min((sample.warm_ms for sample in samples), default=inf) for samples in models]
    slower = sorted(np.median([taken / shortest[place] for place, taken in each.items()]) for each in slices)
    return len(slower) >= _TO_SETTLE and bool(slower[_TO_SETTLE - 1] <= slower[0] + within)


def _ran_s(samples: Sequence[Sample], warm_runs: int = 1) -> float:
    """For how long a device ran at least, given how many runs a warm time may be the shortest of, see `Sample`."""
    warm_ms = (min(warm_runs * sample.warm_ms, sample.warm_ms + WARM_MS) for sample in samples)
    return sum(sample.cold_ms + warm for sample, warm in zip(samples, warm_ms, strict=True)) / 1000


def _summary(device: Device, samples: Sequence[Sample], within: float) -> BlockLatency:
    if min(min(sample.cold_ms, sample.warm_ms) for sample in samples) <= 0:
        raise LatencyError(
            f"{samples[0].model} ran on {device.id} in less than a step of its clock "
            f"({device.fingerprint()['clock_us']:g} us): its time cannot be measured there"
        )
    return BlockLatency.of(samples, settled=has_settled(samples, within) if len(samples) >= _TO_SETTLE else None)


def relative_difference(output: np.ndarray, reference: np.ndarray) -> float:
    """Largest absolute difference over the largest absolute reference; infinite for wrong shapes or values."""
    if output.shape != reference.shape or not np.isfinite(output).all():
        return float("inf")
    return float(np.abs(output - reference).max() / max(float(np.abs(reference).max()), 1e-12))


def _drifted(first: list[Conditions], now: Conditions) -> bool:
    if not first:
        return False
    warmer = now.temperature_c and first[0].temperature_c and now.temperature_c > first[0].temperature_c + _WARMER_C
    slower = now.frequency_mhz and first[0].frequency_mhz and now.frequency_mhz < first[0].frequency_mhz * _SLOWER
    return bool(warmer or slower)


def _batches(models: Mapping[str, OnnxModel]) -> Iterator[dict[str, OnnxModel]]:
    batch: dict[str, OnnxModel] = {}
    room = _BATCH_BYTES
    for name, model in models.items():
        size = model.stat().st_size if isinstance(model, Path) else len(model)
        if batch and size > room:
            yield batch
            batch, room = {}, _BATCH_BYTES
        batch[name] = model
        room -= size
    if batch:
        yield batch


def _digest(model: OnnxModel) -> str:
    return hashlib.sha256(model.read_bytes() if isinstance(model, Path) else model).hexdigest()
