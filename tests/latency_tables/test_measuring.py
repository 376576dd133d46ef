"""Measuring: interleaved, until the times settle, answers first, and through every interruption."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from fairnas.latency_tables import Conditions, DeviceLost, HostDevice, LatencyError, Rounds, block_model, measure
from fairnas.latency_tables.device import OnnxModel, Sample
from fairnas.latency_tables.measuring import is_steady, relative_difference
from fairnas.models import Block

from .simulated import COLD, WEIGHTS_PER_MS, Simulated

MODELS = {
    name: block_model(Block("conv", 3, channels, 8, 2, 3)).SerializeToString()
    for name, channels in (("small", 4), ("middle", 8), ("large", 16))
}
WEIGHTS = {"small": 4 * 28 + 2, "middle": 8 * 28 + 2, "large": 16 * 28 + 2}  # with biases and the limits of relu6
THREE = Rounds(least=3, most=3)


def samples_in(journal: Path) -> list[tuple[str, int]]:
    """Model and round of every sample in a journal's file."""
    whole_lines = journal.read_text().rpartition("\n")[0].splitlines()  # a killed process may leave half a line
    lines = [json.loads(line) for line in whole_lines]
    return [(line["sample"][0], line["sample"][1]) for line in lines if "sample" in line]


def once_each(rounds: int) -> Counter[tuple[str, int]]:
    return Counter((name, number) for name in MODELS for number in range(rounds))


@pytest.fixture
def waits(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """How long measuring waited, each time; nobody really waits."""
    clock, waited = [0.0], list[float]()

    def sleep(seconds: float) -> None:
        waited.append(seconds)
        clock[0] += seconds

    monkeypatch.setattr(time, "sleep", sleep)
    monkeypatch.setattr(time, "monotonic", lambda: clock[0])
    return waited


# Rounds.


def test_rounds_are_interleaved_and_numbered() -> None:
    device = Simulated()
    timings = measure(device, MODELS, THREE)
    assert device.taken == [(name, number) for number in range(3) for name in MODELS]
    assert list(timings) == list(MODELS)
    for name, timing in timings.items():
        assert timing.latency_ms == pytest.approx(WEIGHTS[name] / WEIGHTS_PER_MS)
        assert timing.cold_ms == pytest.approx(COLD * timing.latency_ms)
        assert timing.rounds == 3


def test_models_that_have_settled_are_not_measured_again() -> None:
    """`middle` settles in its eleventh round, `large` never does."""

    def factor(name: str, number: int) -> float:
        return {"small": 1.0, "middle": 1.0 if number >= 8 else 2.0 + 0.1 * number, "large": 1.0 + 0.02 * number}[name]

    device = Simulated(factor=factor)
    timings = measure(device, MODELS, Rounds(least=4, most=20, settled=0.01))
    assert {name: timing.rounds for name, timing in timings.items()} == {"small": 4, "middle": 12, "large": 20}
    assert Counter(device.taken).most_common(1)[0][1] == 1
    for name, timing in timings.items():
        assert [number for model, number in device.taken if model == name] == list(range(timing.rounds))


def test_the_last_rounds_do_not_go_beyond_the_most() -> None:
    device = Simulated(factor=lambda _, number: 1.0 + 0.02 * number)
    assert {timing.rounds for timing in measure(device, MODELS, Rounds(least=4, most=10)).values()} == {10}


@pytest.mark.parametrize(
    ("a_round_s", "warm_runs", "most", "taken"),
    [
        (0.005, 1, 1000, 1000),
        (0.5, 1, 1000, 100),
        (0.5, 1, 30, 30),
        (0.0201, 1, 1000, 750),
        (0.5, 4, 1000, 100),
        (0.00804, 4, 1000, 900),  # rounds of 16.8 ms: four runs of two models, as many as take 4 ms of the largest
    ],
)
def test_models_that_never_settle_stop_when_they_ran_long_enough(
    a_round_s: float, warm_runs: int, most: int, taken: int
) -> None:
    usual_s = sum(WEIGHTS.values()) / WEIGHTS_PER_MS * (1 + COLD) / 1000
    device = Simulated(factor=lambda *_: a_round_s / usual_s, warm_runs=warm_runs)
    timings = measure(device, MODELS, Rounds(least=10, most=most, settled=-1.0))
    assert {timing.rounds for timing in timings.values()} == {taken}


@pytest.mark.parametrize(
    ("factors", "steady"),
    [
        ([1.0, 1.0], False),  # two seconds say little
        ([1.0, 1.0, 1.0], True),
        ([1.05, 1.0, 1.05, 1.0], False),
        ([1.05, 1.0, 1.05, 1.0, 1.005], True),
        ([1.05, 1.05, 1.05, 1.0], False),  # what seemed to be its best was not
    ],
)
def test_a_quick_device_is_steady_when_three_seconds_agree(factors: list[float], steady: bool) -> None:
    """Each second is one of rounds of three models, of which one has a time of its own that is never reached again."""
    rounds = [factor for factor in factors for _ in range(48 if factor == 1.05 else 50)]
    models = [
        [Sample(name, number, ms * each, ms * each, None, None, 1.0) for number, each in enumerate(rounds)]
        for name, ms in (("small", 2.01), ("middle", 3.0), ("large", 5.0))
    ]
    models[0][7] = Sample("small", 7, 2.0, 1.5, None, None, 1.0)
    assert is_steady(models, 0.01) == steady
    silent = [[Sample(sample.model, sample.round, sample.cold_ms, sample.warm_ms) for sample in row] for row in models]
    assert is_steady(silent, 0.01)


class Telling(Simulated):
    """Tells its slowness, as this host does."""

    def measure(self, models: Mapping[str, OnnxModel], rounds: range) -> Iterator[Sample]:
        """See `Device.measure`."""
        yield from (replace(sample, slowness=1.0) for sample in super().measure(models, rounds))


@pytest.mark.parametrize(("kind", "taken"), [(Simulated, 10), (Telling, 50)])
def test_times_that_agree_at_once_are_believed_after_seconds(kind: type[Simulated], taken: int) -> None:
    """A round takes 0.0501 s, so that the fiftieth is the first after which there are three seconds to compare."""
    usual_s = sum(WEIGHTS.values()) / WEIGHTS_PER_MS * (1 + COLD) / 1000
    device = kind(factor=lambda *_: 0.0501 / usual_s)
    assert {timing.rounds for timing in measure(device, MODELS, Rounds(least=10)).values()} == {taken}


def test_progress_counts_every_sample() -> None:
    seen: list[tuple[int, int]] = []
    measure(Simulated(), MODELS, Rounds(least=3, most=10), progress=lambda done, total: seen.append((done, total)))
    assert seen == [(done, 30) for done in range(1, 10)]


@pytest.mark.parametrize("rounds", [Rounds(0, 5), Rounds(5, 4)])
def test_impossible_numbers_of_rounds_are_refused(rounds: Rounds) -> None:
    with pytest.raises(LatencyError, match="ask for at least 1"):
        measure(Simulated(), MODELS, rounds)


def test_a_time_below_the_clocks_step_is_refused_by_name() -> None:
    device = Simulated(factor=lambda name, _: 0.0 if name == "middle" else 1.0)
    with pytest.raises(LatencyError, match=r"middle.*simulated.*clock") as refusal:
        measure(device, MODELS, THREE)
    assert "\n" not in str(refusal.value)


# A device that goes away.


@pytest.mark.parametrize("losses", [[0], [1], [4], [8], [2, 5], [3, 3, 7]])
def test_a_device_that_returns_is_measured_to_the_end(waits: list[float], tmp_path: Path, losses: list[int]) -> None:
    device = Simulated(losses=list(losses), absence=2)
    journal = tmp_path / "journal.jsonl"
    timings = measure(device, MODELS, THREE, journal=journal)
    assert waits == [1.0] * 3 * len(losses)
    assert device.prepared == 1 + 3 * len(losses)
    assert Counter(samples_in(journal)) == Counter(device.taken) == once_each(3)
    assert timings == measure(Simulated(), MODELS, THREE)


def test_patience_is_counted_from_each_loss(waits: list[float], tmp_path: Path) -> None:
    """A device that is unplugged now and then is waited for as long as the first time."""
    device = Simulated(losses=[1, 2], absence=7)
    measure(device, MODELS, THREE, journal=tmp_path / "journal.jsonl", patience_s=10)
    assert sum(waits) == 16
    assert Counter(device.taken) == once_each(3)


def test_a_device_that_goes_away_again_before_it_has_measured_anything_is_not_waited_for_forever(
    waits: list[float],
) -> None:
    with pytest.raises(DeviceLost, match="what was measured is kept"):
        measure(Simulated(losses=[0] * 1000), MODELS, THREE, patience_s=10)
    assert sum(waits) <= 12


def test_when_patience_ends_a_second_call_finishes_without_repeating(waits: list[float], tmp_path: Path) -> None:
    journal = tmp_path / "deep" / "journal.jsonl"
    with pytest.raises(DeviceLost, match="run the same again") as lost:
        measure(Simulated(losses=[4], absence=1000), MODELS, THREE, journal=journal, patience_s=10)
    assert "\n" not in str(lost.value)
    assert 10 <= sum(waits) <= 12
    assert samples_in(journal) == [(name, 0) for name in MODELS] + [("small", 1)]
    second = Simulated()
    assert measure(second, MODELS, THREE, journal=journal) == measure(Simulated(), MODELS, THREE)
    assert second.taken[:2] == [("middle", 1), ("large", 1)]
    assert Counter(samples_in(journal)) == once_each(3)


def test_another_device_in_the_place_of_the_lost_one_is_refused(waits: list[float], tmp_path: Path) -> None:
    device = Simulated(losses=[4], returns_as="2")
    with pytest.raises(LatencyError, match="os '1', now it is '2'"):
        measure(device, MODELS, THREE, journal=tmp_path / "journal.jsonl")
    assert len(device.taken) == 4


# What was measured before.


def test_a_settled_journal_measures_nothing_at_all(tmp_path: Path) -> None:
    journal = tmp_path / "journal.jsonl"
    first = measure(Simulated(), MODELS, THREE, journal=journal)
    second = Simulated()
    assert measure(second, MODELS, THREE, journal=journal) == first
    assert second.taken == []
    assert second.verified == 0


def test_more_rounds_and_more_models_are_added_to_what_is_there(tmp_path: Path) -> None:
    journal = tmp_path / "journal.jsonl"
    some = {name: MODELS[name] for name in ("small", "large")}
    measure(Simulated(), some, Rounds(2, 2), journal=journal)
    device = Simulated()
    measure(device, MODELS, THREE, journal=journal)
    assert Counter(samples_in(journal)) == once_each(3)
    assert device.verified == 1
    assert len(device.taken) == 5


def test_a_changed_model_is_measured_anew(tmp_path: Path) -> None:
    journal = tmp_path / "journal.jsonl"
    measure(Simulated(), MODELS, THREE, journal=journal)
    device = Simulated()
    timings = measure(device, MODELS | {"small": MODELS["large"]}, THREE, journal=journal)
    assert device.taken == [("small", number) for number in range(3)]
    assert device.verified == 1
    assert timings["small"] == timings["large"]


# Answers.


def test_wrong_answers_are_refused_by_name_before_anything_is_timed(tmp_path: Path) -> None:
    journal = tmp_path / "journal.jsonl"
    device = Simulated(wrong=frozenset({"middle"}))
    with pytest.raises(LatencyError, match=r"middle gives wrong answers on simulated: .* by 0.1 of .*0.001") as refusal:
        measure(device, MODELS, THREE, journal=journal)
    assert "\n" not in str(refusal.value)
    assert device.taken == []
    with pytest.raises(LatencyError, match="middle"):  # a second try does not take them for right
        measure(device, MODELS, THREE, journal=journal)


def test_rounding_to_8_bits_may_differ_more() -> None:
    assert relative_difference(np.array([1.0, -2.04]), np.array([1.0, -2.0])) == pytest.approx(0.02)
    with pytest.raises(LatencyError, match=r"allowed 0.05"):
        measure(Simulated(wrong=frozenset({"small"})), MODELS, THREE, precision="int8")


@pytest.mark.parametrize("output", [np.zeros(3), np.array([1.0, np.nan]), np.array([np.inf, 1.0])])
def test_outputs_of_another_shape_or_without_values_differ_infinitely(output: np.ndarray) -> None:
    assert relative_difference(output, np.array([1.0, 2.0])) == float("inf")


def test_the_host_is_not_compared_with_itself() -> None:
    device = Simulated(kind="host", wrong=frozenset(MODELS))
    measure(device, MODELS, THREE)
    assert device.verified == 0


# Heat.


@pytest.mark.parametrize(
    ("hot", "waited"),
    [
        ([Conditions(58.1)] * 3, 15),
        ([Conditions(58.0)], 0),
        ([Conditions(50.0, 890.0)] * 2, 10),
        ([Conditions(50.0, 910.0)], 0),
        ([Conditions(None, 1000.0)], 0),
        ([Conditions(90.0)] * 100, 120),  # not for ever
    ],
)
def test_a_device_that_became_hotter_or_slower_rests(
    waits: list[float], tmp_path: Path, hot: list[Conditions], waited: float
) -> None:
    start = Conditions(50.0, 1000.0)
    device = Simulated(weather=[start, *hot, start], factor=lambda _, number: 1.0 + 0.02 * number)
    measure(device, MODELS, Rounds(least=2, most=4), journal=tmp_path / "journal.jsonl")
    assert sum(waits) == waited
    assert '"conditions": {"temperature_c": 50.0, "frequency_mhz": 1000.0}' in (tmp_path / "journal.jsonl").read_text()


def test_a_device_that_says_nothing_of_itself_is_not_waited_for(waits: list[float]) -> None:
    measure(Simulated(factor=lambda _, number: 1.0 + 0.02 * number), MODELS, Rounds(least=2, most=10))
    assert waits == []


# Killed.

_KILLED = """
import sys
from pathlib import Path
from fairnas.latency_tables import HostDevice, Rounds, measure

folder = Path(sys.argv[1])
models = {path.stem: path for path in sorted(folder.glob("*.onnx"))}
measure(HostDevice(), models, Rounds(least=7, most=10**6, settled=-1.0), journal=folder / "journal.jsonl")
"""


def test_after_kill_9_nothing_is_lost_and_nothing_is_measured_twice(tmp_path: Path) -> None:
    for name, content in MODELS.items():
        (tmp_path / f"{name}.onnx").write_bytes(content)
    journal = tmp_path / "journal.jsonl"
    process = subprocess.Popen([sys.executable, "-c", _KILLED, str(tmp_path)])
    try:
        deadline = time.monotonic() + 120
        while not journal.exists() or journal.stat().st_size < 20_000:
            assert process.poll() is None
            assert time.monotonic() < deadline
            time.sleep(0.001)
    finally:
        process.kill()
    assert process.wait() == -signal.SIGKILL
    before = samples_in(journal)
    assert len(before) > 100
    most = max(number for _, number in before) + 3
    models = {name: tmp_path / f"{name}.onnx" for name in sorted(MODELS)}
    timings = measure(HostDevice(), models, Rounds(least=7, most=most, settled=-1.0), journal=journal)
    assert Counter(samples_in(journal)) == once_each(most)
    assert samples_in(journal)[: len(before)] == before
    assert {timing.rounds for timing in timings.values()} == {most}


# Other work.


def test_a_busy_device_is_waited_for_as_long_as_bursts_last(waits: list[float]) -> None:
    busy, calm = Conditions(others=0.5), Conditions(others=0.1)
    device = Simulated(weather=[busy, busy, busy, calm])
    measure(device, MODELS, Rounds(least=20, most=100))
    assert waits == [0.1] * 3
    assert Counter(device.taken) == once_each(20)


@pytest.mark.parametrize("most", [3, 100])
def test_a_device_that_stays_busy_is_not_waited_for_forever(waits: list[float], most: int) -> None:
    """With every round it may wait 50 ms, of which looking takes half, however often it begins again."""
    device = Simulated(weather=[Conditions(others=0.5)], others=lambda *_: 0.5)
    timings = measure(device, MODELS, Rounds(least=3, most=most))
    assert sum(waits) == pytest.approx(most * 0.05 / 2, abs=0.11)
    assert {(timing.rounds, timing.settled, timing.disturbed) for timing in timings.values()} == {(most, False, 1.0)}


def test_only_undisturbed_times_settle_and_never_above_the_shortest_of_all() -> None:
    """In every other round others are busy; once, a disturbed run is 5% faster than all others were."""
    device = Simulated(
        factor=lambda name, number: 0.95 if (name, number) == ("large", 1) else 1.0,
        others=lambda _, number: 0.5 * (number % 2),
    )
    timings = measure(device, MODELS, Rounds(least=3, most=9))
    assert {name: timing.rounds for name, timing in timings.items()} == {"small": 6, "middle": 6, "large": 9}
    assert {name: timing.settled for name, timing in timings.items()} == {"small": True, "middle": True, "large": False}


def test_of_fewer_than_three_rounds_nothing_is_said() -> None:
    assert {timing.settled for timing in measure(Simulated(), MODELS, Rounds(2, 2)).values()} == {None}
