"""Lasting load: what a device does at first, what it comes down to, and what it says of itself then."""

from __future__ import annotations

import time

import pytest
from fairnas.latency_tables import Conditions, DeviceLost, HostDevice, block_model, measure_sustained
from fairnas.models import Block

from .simulated import Simulated

MODEL = {"it": block_model(Block("conv", 3, 4, 8, 2, 3)).SerializeToString()}


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> None:
    """A clock that goes one second further whenever it is read."""
    seconds = iter(range(10_000))
    monkeypatch.setattr(time, "monotonic", lambda: float(next(seconds)))


@pytest.mark.usefixtures("clock")
def test_a_device_that_slows_down_has_a_burst_and_a_lasting_speed() -> None:
    """It takes twice as long after 100 of 500 rounds."""
    weather = [Conditions(71.5, 1400.0)]
    device = Simulated(factor=lambda _, number: 1.0 if number < 100 else 2.0, weather=weather)
    found = measure_sustained(device, MODEL, 11.0)
    assert found.runs == len(device.taken) == 500
    assert [number for _, number in device.taken] == list(range(500))
    assert found.sustained_ms == pytest.approx(2 * found.burst_ms)
    assert found.burst_ms == pytest.approx(device._time(MODEL["it"]))
    assert (found.temperature_c, found.frequency_mhz) == (71.5, 1400.0)
    assert found.seconds == 12


def test_this_host_runs_as_long_as_it_was_asked_to() -> None:
    found = measure_sustained(HostDevice(), MODEL, 0.2)
    assert found.seconds >= 0.2
    assert found.runs >= 50
    assert found.burst_ms > 0
    assert found.sustained_ms > 0
    assert found.temperature_c is None


def test_a_lost_device_is_said_to_be_lost() -> None:
    with pytest.raises(DeviceLost):
        measure_sustained(Simulated(losses=[7]), MODEL, 0.2)
