"""kill -9 at any moment: the next run ends where an unbroken one does, bit for bit.

One random moment and one half-written file per stage; `make test-resume` takes more of both.
"""

from __future__ import annotations

import itertools
import os
import random
import signal
import time
from pathlib import Path

import pytest

from . import tiny
from .processes import Processes, fairnas, fairnas_dying, fairnas_marking, overwrite_and_die

MOMENTS = int(os.environ.get("RESUME_MOMENTS", "1"))
STAGES = ["supernet", "oneshot", "latency", "search", "picks", "retrain/pick-2", "export/pick-2", "report"]
# Which file is half-written when the process is killed, and which time that it is written.
WRITES = {
    "supernet": [("checkpoint.pt", 2), ("weights.safetensors", 1), ("manifest.json", 1), ("fairness.json", 1)],
    "oneshot": [("scores.json", 1), ("manifest.json", 1)],
    "latency": [("validation.json", 1), ("table.json", 1), ("manifest.json", 1)],
    "search": [("state.json", 2), ("picks.json", 1), ("pareto.csv", 1), ("manifest.json", 1)],
    "picks": [("picks.json", 1), ("measured.json", 1), ("table.json", 1), ("manifest.json", 1)],
    "retrain/pick-2": [("checkpoint.pt", 2), ("result.json", 1), ("weights.safetensors", 1), ("manifest.json", 1)],
    "export/pick-2": [("passport.json", 1), ("SHA256SUMS", 1), ("model.onnx", 1), ("manifest.json", 1)],
    "report": [("index.html", 1), ("manifest.json", 1)],
}


def finish(processes: Processes, unbroken: Path, run: Path, stage: str) -> None:
    """Run again: only the killed stage has anything left to do, and everything is as in the unbroken run."""
    again = processes.start(fairnas, *tiny.arguments(run), log=run.with_suffix(".log"))
    assert again.wait() == 0, again.output
    assert set(tiny.lines(again.output, "running")) <= {stage, "report"}, again.output
    assert tiny.comparable(run) == tiny.comparable(unbroken)


@pytest.mark.slow
@pytest.mark.parametrize("moment", range(MOMENTS))
@pytest.mark.parametrize("stage", STAGES)
def test_a_stage_killed_at_a_random_moment(
    stage: str, moment: int, processes: Processes, unbroken: Path, tmp_path: Path
) -> None:
    run, marker = tmp_path / "run", tmp_path / "begun"
    tiny.rewind(unbroken, run, stage)
    share = random.Random(f"{stage} {moment}").random()
    seconds = share * tiny.manifest(unbroken)["stages"][stage]["seconds"]
    process = processes.start(fairnas_marking, stage, marker, *tiny.arguments(run), log=tmp_path / "killed.log")
    process.wait_for(marker)
    time.sleep(seconds)
    assert process.send(signal.SIGKILL) == -signal.SIGKILL, process.output
    print(f"killed {share:.0%} into {stage}; it left {sorted(p.name for p in (run / stage).glob('*'))}")
    finish(processes, unbroken, run, stage)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("stage", "file", "nth"),
    [(stage, *write) for stage in STAGES for write in (WRITES[stage][:1] if MOMENTS == 1 else WRITES[stage])],
)
def test_a_stage_killed_between_a_temporary_file_and_its_rename(
    stage: str, file: str, nth: int, processes: Processes, unbroken: Path, tmp_path: Path
) -> None:
    run = tmp_path / "run"
    tiny.rewind(unbroken, run, stage)
    dying = [fairnas_dying, stage, file, str(nth), *tiny.arguments(run)]
    process = processes.start(*dying, log=tmp_path / "killed.log")
    assert process.wait() == -signal.SIGKILL, process.output
    assert list(run.rglob(f".{file}.*.fairnas.tmp")), f"not killed while {file} was written"
    finish(processes, unbroken, run, stage)


@pytest.mark.slow
@pytest.mark.skipif(MOMENTS == 1, reason="over a minute: `make test-resume` runs it")
def test_a_run_killed_again_and_again(processes: Processes, unbroken: Path, tmp_path: Path) -> None:
    run = tmp_path / "run"
    draw = random.Random(0)
    for kills in itertools.count():
        process = processes.start(fairnas, *tiny.arguments(run), log=tmp_path / "killed.log")
        # The longest wait grows, so that this ends on a machine of any speed.
        if process.wait(draw.uniform(0.2, 1.15**kills)) is None:
            process.send(signal.SIGKILL)
            continue
        assert process.wait() == 0, process.output
        assert kills >= 3
        break
    assert tiny.comparable(run) == tiny.comparable(unbroken)


def test_a_file_is_old_or_new_whenever_its_writer_is_killed(processes: Processes, tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_text("old")
    process = processes.start(overwrite_and_die, path, log=tmp_path / "log")
    assert process.wait() == -signal.SIGKILL, process.output
    assert path.read_text() == "old"
    assert list(tmp_path.glob(".file.*.fairnas.tmp"))
