"""The study of tables under load: both sides come from tables and times, and its burners end with it."""

from __future__ import annotations

import subprocess
import sys
import time
from pathlib import Path

import pytest
from fairnas.experiments import latency_load as load_study
from fairnas.latency_tables import LatencyTable, Places, Plan, Predictor, Rounds, profile_space
from fairnas.models import Task, get_space

from ..latency_tables.simulated import Simulated


@pytest.fixture
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    """The study at a size that takes no time."""
    for name, value in (("WIDTH", 0.25), ("RESOLUTION", 32), ("CLASSES", 10), ("NETWORKS", 10)):
        monkeypatch.setattr(load_study, name, value)


def table(factor: float, *earlier: LatencyTable) -> LatencyTable:
    plan, device = Plan(Rounds(3, 3), calibration=5, validation=10), Simulated(kind="host", factor=lambda *_: factor)
    return profile_space(device, get_space("b").scaled(0.25), Task(32, 10), plan, Places(earlier=earlier))


@pytest.mark.usefixtures("small")
def test_what_the_study_says_is_what_tables_and_times_say() -> None:
    networks = load_study.networks_of_the_study()
    assert len(networks) == 10
    quiet = table(1.0)
    unseen, seen = table(1.2), table(1.2, quiet)  # both slow, and one of them knows
    times = {
        name: {"latency_ms": Predictor(quiet).predict(blocks).latency_ms, "settled": True}
        for name, blocks in networks.items()
    }
    first, second, third, *_ = times
    times[first]["latency_ms"] *= 1.5
    times[second]["latency_ms"] *= 1.5
    times[third]["settled"] = False  # and is not judged
    right = {name: timing | {"settled": True} for name, timing in times.items()}
    for name in (first, second):
        right[name] = right[name] | {"latency_ms": times[name]["latency_ms"] / 1.5}
    results = load_study.summarise([quiet, quiet, seen], [quiet, unseen, seen], {"quiet": [times, right]})
    assert [row["state"] for row in results["profiles_busy"]] == ["validated", "validated", "unvalidated"]
    assert [row["kept"] for row in results["profiles_busy"]] == [True, False, True]
    assert [row["difference_mean"] for row in results["profiles_busy"]] == pytest.approx([0, 0.2, 0.2], abs=1e-3)
    assert (results["profiles_kept"], results["profiles_validated"]) == (2, 2)
    # The table that is not validated claims nothing: only the others are asked, in each session.
    pooled = {"tables": 2, "inside": 34, "judged": 38, "share": 0.8947, "by_session": [0.7778, 1.0]}
    assert results["coverage"] == {"quiet": pooled}
    shown = load_study.to_markdown(results)
    assert "2 of 3 within 3%" in shown
    assert "the 2 validated quiet tables, 2 quiet sessions (19 of 20 times settled): 89% of 38 pairs" in shown
    assert "(by session: 78%, 100%)" in shown
    assert "references take 20.0% longer" in shown


def test_burners_end_with_the_process_that_started_them() -> None:
    script = Path(load_study.__file__).with_name("burner.py")
    start = f"""
import os, subprocess, sys, time
command = [sys.executable, {str(script)!r}, "0", str(time.time()), str(os.getpid())]
print(subprocess.Popen(command, stdout=subprocess.DEVNULL).pid)
"""
    pid = int(subprocess.run([sys.executable, "-c", start], capture_output=True, text=True, check=True).stdout)
    deadline = time.monotonic() + 60
    while _runs(pid):
        assert time.monotonic() < deadline
        time.sleep(0.05)


def _runs(pid: int) -> bool:
    """Whether it is there, and not only waiting to be asked how it ended."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except (FileNotFoundError, ProcessLookupError):
        return False
