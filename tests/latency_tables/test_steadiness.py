"""A device that is not itself: slow all along, slow for a while, busy in bursts, never settling."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from fairnas.latency_tables import (
    LatencyError,
    LatencyTable,
    Places,
    Plan,
    Predictor,
    Rounds,
    judge,
    profile_network,
    profile_space,
    require_trust,
    unsteady,
)
from fairnas.models import Task, get_space

from .simulated import Simulated

SPACE = get_space("b").scaled(0.25)
SIZE = Task(32, 10)
PLAN = Plan(Rounds(3, 6), calibration=5, validation=10)
SMALLEST, LARGEST = (SPACE.blocks(SPACE.uniform(choice), *SIZE) for choice in ("E3K3", "E6K7"))


def simulated(factor: Callable[[str, int], float] = lambda *_: 1.0, **more: Any) -> Simulated:
    """A device whose answers nobody checks, which would take longer than all the rest."""
    return Simulated(kind="host", factor=factor, **more)


def profile(device: Simulated, *earlier: LatencyTable, folder: Path | None = None) -> LatencyTable:
    return profile_space(device, SPACE, SIZE, PLAN, Places(folder, earlier=earlier))


def predicted(table: LatencyTable) -> np.ndarray:
    return np.array([Predictor(table).predict(blocks).latency_ms for blocks in (SMALLEST, LARGEST)])


@pytest.fixture(scope="module")
def quiet() -> LatencyTable:
    table = profile(simulated())
    assert judge(table).state == "validated"
    return table


# Slow all along: validation in the same minutes agrees with it.


def test_a_device_that_was_slow_all_along_is_found_out_by_an_earlier_table(quiet: LatencyTable) -> None:
    slow = profile(simulated(lambda *_: 1.5), quiet)
    assert slow.validation
    assert slow.validation.within_10 == 1
    assert predicted(slow) == pytest.approx(1.5 * predicted(quiet), rel=0.01)
    verdict = judge(slow)
    assert verdict.state == "unvalidated"
    assert "references take 50.0% longer" in verdict.figure
    assert str(quiet.created) in verdict.figure
    assert "(limit 3%)" in verdict.figure
    assert "measure again with the same command" in verdict.figure
    with pytest.raises(LatencyError, match=r"references take 50.0% longer"):
        require_trust(slow, allow_unvalidated=False)


def test_the_odd_one_of_five_profiles_is_not_validated(quiet: LatencyTable) -> None:
    """0.352, 0.358, 0.539, 0.359 and 0.348 ms for the smallest network, as a machine measured it."""
    tables: list[LatencyTable] = []
    for smallest_ms in (0.352, 0.358, 0.539, 0.359, 0.348):
        tables.append(profile(simulated(lambda *_, ms=smallest_ms: ms / 0.352), *tables))
    assert [judge(table).state for table in tables] == [
        "validated",
        "validated",
        "unvalidated",
        "validated",
        "validated",
    ]


def test_the_fastest_earlier_table_that_can_be_believed_is_compared_with(quiet: LatencyTable) -> None:
    fast = profile(simulated(lambda *_: 0.96))
    slow = profile(simulated(lambda *_: 1.2))
    assert judge(profile(simulated(), slow)).state == "validated"
    assert "references take 4.2% longer" in judge(profile(simulated(), slow, fast)).figure
    # Those say nothing: another device's, one without references, and one that was not believed itself.
    other = fast.model_copy(update={"device": {**fast.device, "os": "2"}})
    old = fast.model_copy(update={"steadiness": None})
    refused = fast.model_copy(update={"validation": None})
    assert judge(profile(simulated(), other, old, refused)).state == "validated"


def test_samples_that_are_read_again_are_no_earlier_table(tmp_path: Path) -> None:
    first = profile(simulated(), folder=tmp_path)
    again = profile(simulated(), first, folder=tmp_path)
    assert again.steadiness
    assert again.steadiness == first.steadiness


# Slow for a while.


def slow_from(sample: int, until: float = float("inf")) -> Simulated:
    """A device that takes longer from one sample on."""
    device = simulated()
    device.factor = lambda *_: 1.05 if sample <= len(device.taken) < until else 1.0
    return device


BLOCKS = len({block.signature for block in SPACE.all_blocks(*SIZE)})


@pytest.mark.parametrize(
    "slow",
    [
        lambda: slow_from(0, until=5 * 3),  # references at the start
        lambda: slow_from(5 * 3 + BLOCKS * 3),  # from the references before the networks on
        lambda: slow_from(2 * 5 * 3 + BLOCKS * 3 + 15 * 3 + 5 * 3),  # during the second look at the networks, and after
    ],
)
def test_references_that_moved_are_reported(slow: Callable[[], Simulated]) -> None:
    table = profile(slow())
    assert table.steadiness
    assert table.steadiness.moved == pytest.approx(0.05, abs=0.001)
    assert judge(table).state == "unvalidated"
    assert "references moved by 5.0% while it was measured (limit 3%)" in judge(table).figure


# Busy in bursts, which the device tells of.


def test_bursts_of_other_work_leave_the_table_right() -> None:
    """In every other round others keep half of the cores busy, and all takes half as long again."""
    quiet, busy = (
        profile(simulated(lambda _, number, slow=slow: slow if number % 2 else 1.0, others=others))
        for slow, others in ((1.0, lambda *_: 0.0), (1.5, lambda _, number: 0.5 * (number % 2)))
    )
    assert predicted(busy) == pytest.approx(predicted(quiet), rel=0.01)
    assert busy.steadiness
    assert busy.steadiness.disturbed == 0.5
    assert busy.steadiness.others == 0.25
    assert judge(busy).state == "validated"


def test_a_table_of_disturbed_runs_is_not_validated_and_says_by_whom() -> None:
    table = profile(simulated(lambda *_: 1.5, others=lambda *_: 0.63))
    assert judge(table).state == "unvalidated"
    assert judge(table).figure == (
        "100% of the runs were disturbed, other work used 63% of the cores: close what else runs there, then measure "
        "again with the same command"
    )


def test_blocks_of_earlier_versions_tell_of_disturbances_too(quiet: LatencyTable) -> None:
    blocks = {
        name: block.model_copy(update={"disturbed": 0.7, "settled": None}) for name, block in quiet.blocks.items()
    }
    old = quiet.model_copy(update={"steadiness": None, "blocks": blocks})
    assert "70% of the runs were disturbed" in judge(old).figure


# Never settling.


def restless(kind: str) -> Simulated:
    """A device on which blocks, or networks, take 2% longer from round to round."""
    return Simulated(
        factor=lambda name, number: 1 + 0.02 * number if name.startswith("network") == (kind == "net") else 1
    )


@pytest.mark.parametrize(("kind", "what"), [("net", "0 of 25 networks"), ("block", f"0 of {BLOCKS} blocks")])
def test_a_table_that_did_not_settle_is_not_validated(kind: str, what: str) -> None:
    table = profile(restless(kind))
    assert table.validation
    assert table.validation.within_10 == 1
    assert judge(table).state == "unvalidated"
    assert judge(table).figure.startswith(f"the times of {what} settled (needs 90%)")


def test_networks_are_timed_as_often_as_was_asked() -> None:
    assert Plan(Rounds(20, 100)).network_rounds == Rounds(10, 100)
    device = restless("net")
    profile(device)
    assert max(number for name, number in device.taken if name.startswith("network")) >= PLAN.rounds.most - 1


def test_the_same_profile_of_an_unsteady_device_measures_again(tmp_path: Path) -> None:
    (tmp_path / "notes.jsonl").write_text("the user's own")
    assert unsteady(profile(restless("net"), folder=tmp_path))
    assert (tmp_path / "notes.jsonl").read_text() == "the user's own"
    (tmp_path / "notes.jsonl").unlink()
    aside = {path.name for path in tmp_path.iterdir()}
    assert len(aside) == 7
    assert all(name.endswith(".unsteady.jsonl") for name in aside)
    device = simulated()
    assert judge(profile(device, folder=tmp_path)).state == "validated"
    assert len(device.taken) > BLOCKS
    assert {path.name for path in tmp_path.iterdir() if ".unsteady." in path.name} == aside


def test_a_network_alone_is_profiled_with_references_too(quiet: LatencyTable) -> None:
    alone = profile_network(
        simulated(lambda *_: 1.5), SPACE, SPACE.uniform("E3K3"), SIZE, PLAN, Places(earlier=[quiet])
    )
    assert "references take 50.0% longer" in (unsteady(alone) or "")
