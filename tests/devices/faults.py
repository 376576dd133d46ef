"""What may happen to a phone or a board, and what must follow, whichever way it is reached."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import pytest
from fairnas.latency_tables import HostDevice, LatencyError
from fairnas.latency_tables.devices.shell import ShellDevice
from fairnas.latency_tables.errors import DeviceLost
from fairnas.latency_tables.measuring import Rounds, measure, relative_difference

from .contract import MODELS, is_sound
from .phone_and_board import Lookalike


def goes_on_after_it_was_lost(device: ShellDevice, lose: Callable[[], None], find: Callable[[], None]) -> None:
    """What was measured before it went away has been given; it goes on where it stopped, on the same device."""
    fingerprint = device.fingerprint()
    samples = device.measure(MODELS, range(100_000))
    assert all(is_sound(next(samples)) for _ in range(2 * len(MODELS)))
    lose()
    with pytest.raises(DeviceLost) as loss:
        list(samples)
    assert "\n" not in str(loss.value)
    for attempt in (device.prepare, device.conditions, lambda: device.outputs(MODELS)):
        with pytest.raises(DeviceLost):
            attempt()
    find()
    device.prepare()
    assert device.fingerprint() == fingerprint
    rest = list(device.measure(MODELS, range(2, 4)))
    assert [(sample.round, sample.model) for sample in rest] == [(number, name) for number in (2, 3) for name in MODELS]


def measures_a_table_through_an_interruption(
    device: ShellDevice, journal: Path, lose: Callable[[], None], find: Callable[[], None]
) -> None:
    """The shared measuring waits for the device and ends up with what it was asked for."""
    interrupted = False

    def interrupt(taken: int, _most: int) -> None:
        nonlocal interrupted
        if taken >= 4 and not interrupted:
            interrupted = True
            lose()
            find()

    times = measure(device, MODELS, Rounds(least=3, most=3), journal=journal, progress=interrupt, patience_s=60)
    assert interrupted
    assert times.keys() == MODELS.keys()
    assert all(latency.latency_ms > 0 for latency in times.values())
    assert all(latency.rounds == 3 for latency in times.values())


def says_how_much_room_it_lacks(device: ShellDevice, lookalike: Lookalike, folder: str) -> None:
    """A full disk is told as such, and the device is of use again once there is room."""
    device.close()
    lookalike.mount_small(folder, kilobytes=4096)
    try:
        with pytest.raises(LatencyError, match=r"4\.\d MB (are )?free") as refusal:
            device.prepare()
        assert "\n" not in str(refusal.value)
        assert not isinstance(refusal.value, DeviceLost)
    finally:
        lookalike.unmount(folder)
    device.prepare()
    assert len(device.outputs(MODELS)) == len(MODELS)


def shows_wrong_answers(device: ShellDevice, store: Path) -> None:
    """Weights that changed on the device change its answers, and shared code refuses to time them."""
    name, model = next(iter(MODELS.items()))
    device.outputs({name: model})
    [stored] = [path for path in store.iterdir() if path.is_file() and path.read_bytes() == model]
    stored.write_bytes(_with_opposite_weights(model))
    try:
        answer, expected = device.outputs({name: model})[name], HostDevice().outputs({name: model})[name]
        assert relative_difference(answer, expected) > 1e-3
        with pytest.raises(LatencyError, match="gives wrong answers"):
            measure(device, {name: model}, Rounds(least=1, most=1))
    finally:
        stored.unlink()
    assert relative_difference(device.outputs({name: model})[name], expected) < 1e-4


def leaves_nothing_running(device: ShellDevice, lookalike: Lookalike) -> None:
    """Not even what was in the middle of something when it was closed."""
    samples = device.measure(MODELS, range(100_000))
    assert is_sound(next(samples))
    assert any("fairnas-runner" in line for line in lookalike.processes().values())
    device.close()
    deadline = time.monotonic() + 10
    while (left := _ours(lookalike)) and time.monotonic() < deadline:
        time.sleep(0.1)
    assert not left


def _ours(lookalike: Lookalike) -> list[str]:
    return [line for line in lookalike.processes().values() if "/fairnas/bundle-" in line]


def _with_opposite_weights(model: bytes) -> bytes:
    changed = onnx.load_from_string(model)
    weights = changed.graph.initializer[0]
    weights.raw_data = (-np.frombuffer(weights.raw_data, dtype=np.float32)).tobytes()
    return changed.SerializeToString()
