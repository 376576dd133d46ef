"""What others use of this machine's cores, from the system's own counts."""

from __future__ import annotations

import time
from pathlib import Path

import pytest
from fairnas.latency_tables import BlockLatency, Sample
from fairnas.latency_tables.other_work import OtherWork


def stat(path: Path, idle: int, disk: int = 0, cores: int = 2) -> Path:
    """The system's counts, in hundredths of a second."""
    lines = [f"cpu  99 0 99 {idle} {disk} 0 7 5 0 0", *(f"cpu{core} 1 1 1 1 1 1 1 1 0 0" for core in range(cores))]
    path.write_text("\n".join([*lines, "intr 3 4", "ctxt 5"]) + "\n")
    return path


@pytest.mark.parametrize(
    ("own_s", "idle", "disk", "share"),
    [
        (1.0, 100, 0, 0.0),  # one core is ours, the other idle
        (1.0, 0, 0, 0.5),
        (1.0, 30, 20, 0.25),
        (0.2, 0, 0, 0.9),  # they keep us waiting as well
        (1.0, 110, 0, 0.0),  # the system counts coarsely
    ],
)
def test_what_is_neither_idle_nor_ours_is_others(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, own_s: float, idle: int, disk: int, share: float
) -> None:
    clock = {"wall": 10.0, "own": 3.0}
    monkeypatch.setattr(time, "perf_counter", lambda: clock["wall"])
    monkeypatch.setattr(time, "process_time", lambda: clock["own"])
    path = stat(tmp_path / "stat", 5000, 50)
    others = OtherWork(path)
    clock["wall"] += 1.0
    clock["own"] += own_s
    stat(path, 5000 + idle, 50 + disk)
    assert others.seconds == 1.0
    assert others.share() == pytest.approx(share)
    assert others.seconds == 0


@pytest.mark.parametrize("content", [None, "", "cpu\n", "no counts here\n", "cpu 1 2 3 4 5 6\n"])
def test_a_system_that_does_not_tell_is_not_guessed_at(tmp_path: Path, content: str | None) -> None:
    if content is not None:
        (tmp_path / "stat").write_text(content)
    others = OtherWork(tmp_path / "stat")
    assert others.share() is None


def test_work_on_other_cores_disturbs_although_both_clocks_agree() -> None:
    assert Sample("a", 0, 2.0, 1.5, 1.5, 0.5).is_disturbed
    assert not Sample("a", 0, 2.0, 1.0, 1.0, 0.1).is_disturbed
    assert Sample("a", 0, 2.0, 1.0, None, 0.5).is_disturbed
    assert Sample("a", 0, 2.0, 1.5, 1.0, 0.0).is_disturbed
    told = [Sample("a", 0, 2.0, 1.0, 1.0, 0.0), Sample("a", 1, 2.0, 1.5, 1.5, 0.5)]
    timing = BlockLatency.of(told)
    assert (timing.disturbed, timing.others) == (0.5, 0.25)
    assert BlockLatency.of([Sample("a", 0, 2.0, 1.0)]).disturbed is None
