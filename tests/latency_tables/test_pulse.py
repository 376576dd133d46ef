"""What slows a processor shows in work of which the time is known."""

from __future__ import annotations

import pytest
from fairnas.latency_tables import BlockLatency, HostDevice, Rounds, Sample, block_model, measure
from fairnas.latency_tables.device import SLOWED
from fairnas.latency_tables.pulse import Pulse

from .test_host import TINY

WORK_S = 20e-6
MODEL = block_model(TINY).SerializeToString()


class Machine:
    """Does its work in 20 microseconds, and slower in the intervals named."""

    def __init__(self, *slow: tuple[float, float], factor: float = 1.5) -> None:
        self.now, self._slow, self._factor = 0.0, slow, factor

    def clock(self) -> float:
        return self.now

    def work(self) -> None:
        self.now += WORK_S * (self._factor if any(begin <= self.now < end for begin, end in self._slow) else 1)

    def pulse(self) -> Pulse:
        return Pulse(self.work, self.clock)


def test_slowness_is_what_the_work_takes_over_its_shortest() -> None:
    machine = Machine((1.0, 2.0))
    pulse = machine.pulse()
    assert pulse.slowness() == pytest.approx(1)
    machine.now = 1.5
    assert pulse.slowness() == pytest.approx(1.5)
    machine.now = 2.5
    assert pulse.slowness() == pytest.approx(1)


def test_one_interruption_is_no_slowness() -> None:
    machine = Machine((1.0, 1.0 + WORK_S / 2))
    pulse = machine.pulse()
    machine.now = 1.0
    assert pulse.slowness() == pytest.approx(1)


def test_a_burst_is_waited_for_and_no_longer() -> None:
    machine = Machine((1.0, 1.02))
    pulse = machine.pulse()
    machine.now = 1.01
    assert pulse.wait() == pytest.approx(1)
    assert machine.now == pytest.approx(1.02, abs=10 * WORK_S)


def test_what_stays_is_measured_as_it_is_and_said() -> None:
    machine = Machine((1.0, 9.0))
    pulse = machine.pulse()
    machine.now = begun = 1.0
    waits = 0.0
    while machine.now < 3.0:
        before = machine.now
        assert pulse.wait() == pytest.approx(1.5)
        assert machine.now - before <= 0.051
        waits += machine.now - before
        machine.now += 0.01  # what is measured meanwhile
    assert 0.4 <= waits / (machine.now - begun) <= 0.8  # what was spared in the first second is waited now, too


def test_a_slowed_run_is_disturbed_and_says_so() -> None:
    assert Sample("a", 0, 2.0, 1.0, 1.0, 0.0, SLOWED + 0.01).is_disturbed
    assert not Sample("a", 0, 2.0, 1.0, 1.0, 0.0, 1.0).is_disturbed
    assert BlockLatency.of([Sample("a", 0, 2.0, 1.0, slowness=1.5)]).disturbed == 1


def test_the_host_looks_around_every_run(monkeypatch: pytest.MonkeyPatch) -> None:
    answers = iter([1.0, 1.0, 1.3, 1.0, 1.0, 1.4])  # before and after, in turn
    device = HostDevice()
    monkeypatch.setattr(Pulse, "wait", lambda _: next(answers))
    monkeypatch.setattr(Pulse, "slowness", lambda _: next(answers))
    monkeypatch.setattr("fairnas.latency_tables.pulse._FIRST_S", 0.0)
    taken = list(device.measure({"tiny": MODEL}, range(3)))
    assert [sample.slowness for sample in taken] == [1.0, 1.3, 1.4]


def test_the_host_tells() -> None:
    timing = measure(HostDevice(), {"tiny": MODEL}, Rounds(3, 3))["tiny"]
    assert timing.disturbed is not None
