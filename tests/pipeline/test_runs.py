"""Run folders: what is reused, what is made anew, who may work in one, and what a stop leaves behind."""

from __future__ import annotations

import json
import os
import shutil
import signal
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from fairnas.common.files import write_json
from fairnas.pipeline.errors import UserError
from fairnas.pipeline.runs.run import Run, Stage, Workspace

from . import tiny
from .processes import Processes, fairnas, hold_with_worker


class Work:
    """Writes one file and counts how often."""

    def __init__(self, content: str = "result") -> None:
        self.content, self.times = content, 0

    def __call__(self, workspace: Workspace) -> None:
        self.times += 1
        (workspace.folder / "out.txt").write_text(self.content)


@pytest.fixture
def work() -> Work:
    return Work()


@pytest.fixture
def stage(work: Work) -> Stage:
    return Stage("train", 1, {"epochs": 3, "lr": 0.1}, {"dataset": "d1", "table": "t1"}, ("out.txt",), work)


def execute(folder: Path, stage: Stage, forced: str = "") -> bool:
    """Execute a stage as a new process would; true when it was reused."""
    with Run(folder) as run:
        run.forced = {forced}
        return run.execute(stage)


# What is reused.


def test_an_unchanged_stage_is_reused(tmp_path: Path, stage: Stage, work: Work) -> None:
    assert not execute(tmp_path, stage)
    assert execute(tmp_path, stage)
    # The order of keys means nothing.
    assert execute(tmp_path, replace(stage, config={"lr": 0.1, "epochs": 3}, inputs={"table": "t1", "dataset": "d1"}))
    assert work.times == 1


@pytest.mark.parametrize(
    "change",
    [
        {"config": {"epochs": 4, "lr": 0.1}},
        {"config": {"epochs": 3}},
        {"inputs": {"dataset": "d2", "table": "t1"}},
        {"version": 2},
    ],
    ids=["changed value", "missing key", "input", "version"],
)
def test_a_changed_stage_starts_from_nothing_of_its_own_and_leaves_what_is_somebodys(
    change: dict[str, object], tmp_path: Path, stage: Stage, work: Work
) -> None:
    execute(tmp_path, stage)
    (tmp_path / "train" / "notes.txt").write_text("mine")
    changed = replace(stage, **change)
    assert not execute(tmp_path, changed)
    assert execute(tmp_path, changed)
    assert work.times == 2
    assert sorted(path.name for path in (tmp_path / "train").iterdir()) == ["notes.txt", "out.txt"]
    assert (tmp_path / "train" / "notes.txt").read_text() == "mine"


@pytest.mark.parametrize("damage", [lambda path: path.write_text("other"), lambda path: path.unlink()])
def test_a_stage_whose_output_was_changed_or_removed_runs_again(
    damage: Callable[[Path], object], tmp_path: Path, stage: Stage, work: Work
) -> None:
    execute(tmp_path, stage)
    damage(tmp_path / "train" / "out.txt")
    assert not execute(tmp_path, stage)
    assert (tmp_path / "train" / "out.txt").read_text() == "result"
    assert work.times == 2


def test_forcing_a_stage_drops_its_finished_and_its_unfinished_work(tmp_path: Path, stage: Stage, work: Work) -> None:
    execute(tmp_path, stage)
    assert not execute(tmp_path, stage, forced="train")
    assert execute(tmp_path, stage, forced="other")
    stop(tmp_path, replace(stage, version=2))
    assert not execute(tmp_path, replace(stage, version=2), forced="train")
    assert not (tmp_path / "train" / "checkpoint.pt").exists()
    assert work.times == 3


def test_forcing_a_kind_of_stage_forces_each_network_of_it(tmp_path: Path, stage: Stage, work: Work) -> None:
    named = replace(stage, name="retrain/pick-1")
    execute(tmp_path, named)
    assert not execute(tmp_path, named, forced="retrain")
    assert work.times == 2


def stop(folder: Path, stage: Stage) -> None:
    """Let a stage fail when half its work is done."""

    def half(workspace: Workspace) -> None:
        (workspace.folder / "checkpoint.pt").touch()
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        execute(folder, replace(stage, work=half))


def test_unfinished_work_is_gone_on_with_when_nothing_changed(tmp_path: Path, stage: Stage) -> None:
    stop(tmp_path, stage)
    seen: list[bool] = []

    def resume(workspace: Workspace) -> None:
        seen.append((workspace.folder / "checkpoint.pt").exists())
        (workspace.folder / "out.txt").touch()

    assert not execute(tmp_path, replace(stage, work=resume))
    assert seen == [True]
    assert [path.name for path in (tmp_path / "train").iterdir()] == ["out.txt"]


def test_unfinished_work_of_another_configuration_is_not_gone_on_with(tmp_path: Path, stage: Stage) -> None:
    stop(tmp_path, stage)
    seen: list[bool] = []

    def fresh(workspace: Workspace) -> None:
        seen.append((workspace.folder / "checkpoint.pt").exists())
        (workspace.folder / "out.txt").touch()

    assert not execute(tmp_path, replace(stage, config={"epochs": 4}, work=fresh))
    assert seen == [False]


def test_what_a_kill_after_the_last_step_leaves_is_tidied_up(tmp_path: Path, stage: Stage) -> None:
    execute(tmp_path, stage)
    for leftover in (".key", "checkpoint.pt", ".out.txt.123.fairnas.tmp"):
        (tmp_path / "train" / leftover).write_text(stage.key)
    assert execute(tmp_path, stage)
    assert [path.name for path in (tmp_path / "train").iterdir()] == ["out.txt"]


def test_a_discarded_stage_lies_aside_whether_it_was_finished_or_not(tmp_path: Path, stage: Stage) -> None:
    execute(tmp_path, replace(stage, name="retrain/pick-1"))
    stop(tmp_path, replace(stage, name="retrain/pick-2"))
    with Run(tmp_path) as run:
        assert run.stages() == ["retrain/pick-1", "retrain/pick-2"]
        for name in run.stages():
            run.discard(name)
        assert run.stages() == []
    assert sorted(path.name for path in (tmp_path / "retrain").iterdir()) == ["pick-1.previous", "pick-2.previous"]
    assert tiny.manifest(tmp_path)["stages"] == {}
    assert execute(tmp_path, replace(stage, name="retrain/pick-1"))


@pytest.mark.parametrize(
    "content",
    ["", "{", "[]", "\x00\xff", '{"stages": 3}', '{"stages": {"train": 3}}', '{"stages": {"train": {"key": "k"}}}'],
)
def test_a_damaged_manifest_is_one_line_that_says_what_to_do(content: str, tmp_path: Path, stage: Stage) -> None:
    execute(tmp_path, stage)
    sound = (tmp_path / "manifest.json").read_bytes()
    (tmp_path / "manifest.json").write_text(content, encoding="latin-1")
    with pytest.raises(UserError, match=r"manifest\.json is damaged \(.*\): put a copy of it back") as error:
        execute(tmp_path, stage)
    assert "\n" not in str(error.value)
    assert "delete" not in str(error.value)
    (tmp_path / "manifest.json").write_bytes(sound)
    assert execute(tmp_path, stage)


# Who may work in a folder.


def test_a_folder_whose_holder_was_killed_is_free_though_its_workers_live(processes: Processes, tmp_path: Path) -> None:
    run, marker = tmp_path / "run", tmp_path / "worker"
    holder = processes.start(hold_with_worker, run, marker, log=tmp_path / "log")
    holder.wait_for(marker)
    worker = int(marker.read_text())
    try:
        with pytest.raises(UserError, match=f"{run} is in use by process {holder.pid} on "), Run(run):
            pass
        assert holder.send(signal.SIGKILL) == -signal.SIGKILL
        os.kill(worker, 0)  # raises when it is gone
        with Run(run):
            pass
    finally:
        os.kill(worker, signal.SIGKILL)


@pytest.mark.slow
def test_a_second_command_on_a_folder_is_refused_and_ctrl_c_leaves_it_resumable(
    processes: Processes, unbroken: Path, tmp_path: Path
) -> None:
    run = tmp_path / "run"
    tiny.rewind(unbroken, run, "supernet")
    first = processes.start(fairnas, *tiny.arguments(run), log=tmp_path / "first.log")
    first.wait_for(run / "supernet" / "checkpoint.pt")

    second = processes.start(fairnas, *tiny.arguments(run), log=tmp_path / "second.log")
    assert second.wait() == 2
    assert second.output.splitlines()[-1].startswith(f"error: run folder {run} is in use by process {first.pid} on ")
    assert first.wait(0) is None

    assert first.send(signal.SIGINT) == 130, first.output
    assert "run the same command again" in first.output
    assert "Traceback" not in first.output
    assert not list(run.rglob("*.tmp"))

    again = processes.start(fairnas, *tiny.arguments(run), log=tmp_path / "again.log")
    assert again.wait() == 0, again.output
    # The report shows how fast training was, and that is never the same.
    assert tiny.lines(again.output, "running") == ["supernet", "report"]
    assert tiny.comparable(run) == tiny.comparable(unbroken)


# What the command makes of it.


@pytest.mark.slow
def test_force_runs_again_from_the_named_stage(processes: Processes, unbroken: Path, tmp_path: Path) -> None:
    run = tmp_path / "run"
    shutil.copytree(unbroken, run)
    process = processes.start(fairnas, *tiny.arguments(run, "--force", "export"), log=tmp_path / "log")
    assert process.wait() == 0, process.output
    forced = [stage for stage in tiny.STAGES if stage.startswith(("export", "report"))]
    assert tiny.lines(process.output, "running") == forced
    assert tiny.lines(process.output, "cached") == [stage for stage in tiny.STAGES if stage not in forced]
    assert tiny.comparable(run) == tiny.comparable(unbroken)


def test_force_of_an_unknown_stage_is_refused_before_anything_is_written(processes: Processes, tmp_path: Path) -> None:
    run = tmp_path / "run"
    process = processes.start(fairnas, *tiny.arguments(run, "--force", "retrian"), log=tmp_path / "log")
    assert process.wait() == 2
    assert process.output.startswith("error: unknown stage 'retrian': did you mean 'retrain'?")
    assert not run.exists()


@pytest.mark.slow
def test_a_new_search_discards_what_was_made_of_earlier_picks(
    processes: Processes, unbroken: Path, tmp_path: Path
) -> None:
    run = tmp_path / "run"
    shutil.copytree(unbroken, run)
    # As if an earlier search with more picks had been stopped while one of them was trained.
    (run / "retrain" / "pick-4").mkdir()
    (run / "retrain" / "pick-4" / ".key").write_text("of an earlier search")
    _, *rest = tiny.arguments(run, "--set", "search.picks=2")
    process = processes.start(fairnas, "search", *rest, log=tmp_path / "log")
    assert process.wait() == 0, process.output
    assert tiny.lines(process.output, "running") == ["search", "picks"]

    def picked(folder: Path) -> dict[str, str]:
        return {row["name"]: row["architecture"] for row in json.loads((folder / "picks" / "picks.json").read_text())}

    earlier, now = picked(unbroken), picked(run)
    assert list(now) == ["pick-1", "pick-2"]
    stay = [name for name in now if now[name] == earlier[name]]
    assert "pick-1" in stay
    in_place = [path.name for path in run.glob("*/pick-*") if not path.name.endswith(".previous")]
    assert sorted(in_place) == sorted(stay * 2)
    lost = sorted(set(earlier) - set(stay))
    aside = [path.name for path in run.glob("retrain/*.previous") if "pick-4" not in path.name]
    assert sorted(aside) == [f"{name}.previous" for name in lost]
    gone = tuple({"pick-1", "pick-2", "pick-3"} - set(stay))
    assert sorted(tiny.manifest(run)["stages"]) == sorted(s for s in tiny.STAGES if not s.endswith(gone))


def test_the_manifest_says_what_each_stage_was_made_of_and_by_whom(unbroken: Path) -> None:
    manifest = tiny.manifest(unbroken)
    assert (manifest["format"], manifest["format_version"]) == ("fairnas run", 1)
    for name, entry in manifest["stages"].items():
        assert {"commit", "versions", "machine"} <= entry.keys(), name
        assert entry["outputs"], name
        assert entry["inputs"], name
        assert entry["seconds"] >= 0
    assert {"commit", "versions", "machine"} <= manifest.keys()
    assert {"python", "torch", "timm", "onnxruntime", "optuna"} <= manifest["versions"].keys()


def test_writing_json_replaces_a_file_and_leaves_nothing_else(tmp_path: Path) -> None:
    path = tmp_path / "value.json"
    write_json(path, {"a": 1})
    write_json(path, {"a": 2})
    assert json.loads(path.read_text()) == {"a": 2}
    with pytest.raises(TypeError):
        write_json(path, {"a": object()})
    assert [file.name for file in tmp_path.iterdir()] == ["value.json"]
    assert json.loads(path.read_text()) == {"a": 2}


# Stages inside stages, and what is told about replaced work.


def test_a_stage_keeps_the_stages_in_its_sub_folders(tmp_path: Path, stage: Stage) -> None:
    inner = replace(stage, name="train/inner")
    execute(tmp_path, inner)
    execute(tmp_path, stage)
    execute(tmp_path, replace(stage, version=2))
    assert execute(tmp_path, inner)


def test_what_changed_is_named(tmp_path: Path, stage: Stage, capsys: pytest.CaptureFixture[str]) -> None:
    execute(tmp_path, stage)
    capsys.readouterr()
    execute(tmp_path, replace(stage, config={"epochs": 4, "lr": 0.1}, inputs={"dataset": "d2", "table": "t1"}))
    assert "train: epochs, dataset changed" in " ".join(capsys.readouterr().err.split())


def test_a_resumed_stage_says_so(tmp_path: Path, stage: Stage) -> None:
    def interrupted(workspace: Workspace) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        execute(tmp_path, replace(stage, work=interrupted))
    execute(tmp_path, stage)
    with Run(tmp_path) as run:
        assert run.manifest["stages"]["train"]["resumed"] is True
    execute(tmp_path, stage, forced="train")
    with Run(tmp_path) as run:
        assert run.manifest["stages"]["train"]["resumed"] is False
