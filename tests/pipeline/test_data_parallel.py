"""Training by several ranks: the gradients of one process, the same weights everywhere, and no rank left waiting."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from safetensors.torch import load_file

from . import processes as started
from . import tiny
from .processes import Process, Processes

COUNT = 2
NETWORK = "test_efficientnet"
SHORT = ["--set", "retrain.init=scratch", "--set", "retrain.batch_size=256", "--set", "retrain.dropout=0.2"]


def free_port() -> str:
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return str(found.getsockname()[1])


@pytest.fixture(autouse=True)
def _a_core_each(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OMP_NUM_THREADS", "1")


def on_ranks(processes: Processes, function: str, folder: Path) -> list[Any]:
    """What a function of `replicas.py` returns on each rank."""
    port = free_port()
    ranks = [
        processes.start(started.rank_of, function, str(rank), str(COUNT), port, folder / "out", log=folder / f"{rank}")
        for rank in range(COUNT)
    ]
    for rank, process in enumerate(ranks):
        assert process.wait() == 0, (folder / f"{rank}").read_text()
    return [json.loads((folder / f"out-{rank}.json").read_text()) for rank in range(COUNT)]


def test_gradients_are_those_of_one_process(processes: Processes, tmp_path: Path) -> None:
    for found in on_ranks(processes, "gradients", tmp_path):
        for kind, difference in found.items():
            assert difference["gradients"] < 1e-9, kind
            assert difference["loss"] < 1e-9, kind


def test_what_no_rank_reached_keeps_no_gradient(processes: Processes, tmp_path: Path) -> None:
    # Of 4 images each rank has 2: the means of both count half.
    assert on_ranks(processes, "reached", tmp_path) == [[2.0, 1.5, None]] * COUNT


def test_ranks_notice_that_they_differ(processes: Processes, tmp_path: Path) -> None:
    expected = {"at first": True, "other statistics": False, "shared statistics": True, "one bit": False}
    assert on_ranks(processes, "sameness", tmp_path) == [expected] * COUNT


def test_dropout_differs_by_rank_and_update_and_repeats(processes: Processes, tmp_path: Path) -> None:
    first, other = on_ranks(processes, "dropout", tmp_path)
    for masks in (first, other):
        assert masks[0] == masks[2] != masks[1]
    assert first[0] != other[0]


def retrain(
    processes: Processes, run: Path, *more: str, how: Any = started.fairnas_rank, count: int = COUNT
) -> list[Process]:
    """The command on all ranks; what each prints goes to `RUN-RANK.log`."""
    port = free_port()
    arguments = ["retrain", NETWORK, *tiny.arguments(run)[1:], *SHORT, *more]
    return [
        processes.start(how, str(rank), str(count), port, *arguments, log=log_of(run, rank)) for rank in range(count)
    ]


def log_of(run: Path, rank: int) -> Path:
    return run.with_name(f"{run.name}-{rank}.log")


def wait(ranks: list[Process]) -> list[int | None]:
    return [process.wait(120) for process in ranks]


@pytest.fixture(scope="module")
def trained(processes: Processes, tmp_path_factory: pytest.TempPathFactory) -> Path:
    run = tmp_path_factory.mktemp("ranks") / "run"
    assert wait(retrain(processes, run)) == [0] * COUNT, log_of(run, 0).read_text()
    return run


def weights_of(run: Path) -> Path:
    return run / "retrain" / NETWORK / "weights.safetensors"


def test_several_ranks_train_one_network(trained: Path) -> None:
    result = json.loads((trained / "retrain" / NETWORK / "result.json").read_text())
    assert result["ranks"] == COUNT
    assert all(value.isfinite().all() for value in load_file(weights_of(trained)).values())
    rows = [json.loads(line) for line in (trained / "retrain" / NETWORK / "metrics.jsonl").read_text().splitlines()]
    assert [row["epoch"] for row in rows] == [0, 1]
    assert rows[1]["train_loss"] < rows[0]["train_loss"]
    # Only the first rank speaks.
    assert tiny.lines(log_of(trained, 0).read_text(), "running") == [f"retrain/{NETWORK}"]
    assert log_of(trained, 1).read_text() == ""


def test_killed_ranks_go_on_to_the_same_weights(processes: Processes, trained: Path, tmp_path: Path) -> None:
    run = tmp_path / "run"
    often = ("--set", "retrain.checkpoint_seconds=0")
    ranks = retrain(processes, run, *often)
    ranks[0].wait_for(run / "retrain" / NETWORK / "checkpoint.pt")
    for process in ranks:
        os.kill(process.pid, signal.SIGKILL)
    assert wait(ranks) == [-signal.SIGKILL] * COUNT
    assert not weights_of(run).exists()
    assert wait(retrain(processes, run, *often)) == [0] * COUNT, log_of(run, 0).read_text()
    assert tiny.manifest(run)["stages"][f"retrain/{NETWORK}"]["resumed"]
    assert weights_of(run).read_bytes() == weights_of(trained).read_bytes()


def test_all_ranks_have_the_teacher(processes: Processes, trained: Path, tmp_path: Path) -> None:
    """Only the first one reads its weights and sends them: the loss is that of one process."""
    run, settings = tmp_path / "run", ("--set", "retrain.epochs=1", "--set", "retrain.dropout=0")
    teacher = ["--set", f"retrain.distillation.teacher={NETWORK}", "--set", "retrain.distillation.share=1"]
    teacher += ["--set", f"retrain.distillation.weights={weights_of(trained)}"]
    # A student that begins as its teacher, in evaluation as in training but for the statistics of its batches.
    begin = ["--set", "retrain.init=weights", "--set", f"retrain.weights={weights_of(trained)}"]
    assert wait(retrain(processes, run, *settings, *teacher, *begin)) == [0] * COUNT, log_of(run, 0).read_text()
    (row,) = [json.loads(line) for line in (run / "retrain" / NETWORK / "metrics.jsonl").read_text().splitlines()]
    alone = tmp_path / "alone"
    assert wait(retrain(processes, alone, *settings, *teacher, *begin, count=1)) == [0], log_of(alone, 0).read_text()
    (other,) = [json.loads(line) for line in (alone / "retrain" / NETWORK / "metrics.jsonl").read_text().splitlines()]
    assert row["train_loss"] == pytest.approx(other["train_loss"], rel=0.05)


def test_a_rank_that_dies_ends_the_others_in_one_line(processes: Processes, tmp_path: Path) -> None:
    run = tmp_path / "run"
    ranks = retrain(processes, run, "--set", "retrain.checkpoint_seconds=0", "--set", "retrain.epochs=50")
    ranks[0].wait_for(run / "retrain" / NETWORK / "checkpoint.pt")
    os.kill(ranks[1].pid, signal.SIGKILL)
    assert wait(ranks) == [2, -signal.SIGKILL]
    output = log_of(run, 0).read_text()
    assert "Traceback" not in output
    assert "error: another rank is gone: start torchrun again to go on" in output.splitlines()[-1]


def test_a_first_rank_that_fails_leaves_none_waiting(processes: Processes, tmp_path: Path) -> None:
    run = tmp_path / "run"
    failing = retrain(processes, run, "--set", "retrain.checkpoint_seconds=0", how=started.fairnas_rank_failing)
    codes = wait(failing)
    assert codes[0] == 2
    assert codes[1] is not None
    outputs = [log_of(run, rank).read_text() for rank in range(COUNT)]
    assert "No space left on device" in outputs[0].splitlines()[-1]
    assert "Traceback" not in "".join(outputs)


def test_mistakes_are_told_once(processes: Processes, tmp_path: Path) -> None:
    run = tmp_path / "run"
    assert wait(retrain(processes, run, "--set", "retrain.batch_size=3"))[0] == 2
    output = "".join(log_of(run, rank).read_text() for rank in range(COUNT))
    assert output.count("error:") == 1
    assert "batches of 3 images are too few for 2 ranks: each needs 2, for batch norm" in output


@pytest.mark.slow
def test_torchrun_starts_the_command(tmp_path: Path) -> None:
    run = tmp_path / "run"
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2", "-m", "--"]
    arguments = ["fairnas.pipeline.cli", "retrain", NETWORK, *tiny.arguments(run)[1:], *SHORT]
    finished = subprocess.run(
        [*command, *arguments, "--set", "retrain.epochs=1"], capture_output=True, text=True, check=False
    )
    assert finished.returncode == 0, finished.stderr
    assert json.loads((run / "retrain" / NETWORK / "result.json").read_text())["ranks"] == COUNT
