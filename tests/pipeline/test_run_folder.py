"""Whose folder is it? Nothing of anybody else's is removed, overwritten, or reached through a link."""

from __future__ import annotations

import json
import os
import signal
from pathlib import Path

import pytest
from fairnas.common.errors import FairnasError
from fairnas.pipeline.errors import UserError
from fairnas.pipeline.runs.folder import default_run
from fairnas.pipeline.runs.run import Run

from .stages import execute, stage


def everything(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}


@pytest.fixture
def run(tmp_path: Path) -> Path:
    """A run with a finished stage."""
    execute(tmp_path / "run", stage())
    return tmp_path / "run"


@pytest.mark.parametrize(
    "names",
    [
        ["report/thesis.tex", "report/index.html"],
        ["search/notes.txt"],
        ["config.yaml"],
        ["supernet/checkpoint.pt"],
        ["retrain/pick-1/w.bin"],
        [".thing.1.fairnas.tmp"],
        ["supernet/.key"],
        ["notes.txt", ".lock"],
        [".git/config"],
    ],
    ids=lambda names: names[0],
)
def test_a_folder_of_somebody_elses_is_refused_and_left_as_it_is(names: list[str], tmp_path: Path) -> None:
    for name in names:
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text("mine")
    before = everything(tmp_path)
    with pytest.raises(UserError, match=r"was not made by fairnas and is not empty \(.*\): name a new folder"):
        execute(tmp_path, stage())
    assert everything(tmp_path) == before


def test_a_web_applications_manifest_is_none_of_ours(tmp_path: Path) -> None:
    (tmp_path / "manifest.json").write_text(json.dumps({"name": "app", "icons": [], "start_url": "/"}))
    with pytest.raises(UserError, match=r"manifest\.json is another program's: name a new or an empty folder") as error:
        execute(tmp_path, stage())
    assert "delete" not in str(error.value)
    assert [path.name for path in tmp_path.iterdir()] == ["manifest.json"]


def test_an_empty_folder_and_one_that_is_not_there_are_taken(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    (tmp_path / "empty" / ".DS_Store").touch()
    for name in ("empty", "a/new/one"):
        assert execute(tmp_path / name, stage()) == [False]


@pytest.mark.parametrize("left", [[], [".lock"], [".lock", ".manifest.json.77.fairnas.tmp"]])
def test_a_run_that_was_killed_before_it_had_a_manifest_goes_on(left: list[str], tmp_path: Path) -> None:
    for name in left:
        (tmp_path / name).write_text("process 77 on host" if name == ".lock" else "{")
    assert execute(tmp_path, stage()) == [False]
    assert not list(tmp_path.glob("*.tmp"))


def test_the_manifest_is_there_before_the_first_stage_is_done(tmp_path: Path) -> None:
    with Run(tmp_path / "run"):
        assert json.loads((tmp_path / "run" / "manifest.json").read_text())["stages"] == {}


def test_folders_of_earlier_versions_are_ours(run: Path) -> None:
    manifest = json.loads((run / "manifest.json").read_text())
    del manifest["format"], manifest["format_version"]
    for entry in manifest["stages"].values():
        for name in ("commit", "versions", "machine", "seconds_before"):
            del entry[name]
    (run / "manifest.json").write_text(json.dumps(manifest))
    assert execute(run, stage()) == [True]
    # Also where the first stage was interrupted, and there was no manifest yet.
    (run / "manifest.json").unlink()
    (run / "config.yaml").write_text("seed: 0")
    (run / "supernet" / ".key").write_text(stage().key)
    with Run(run) as held:
        assert held.stages() == ["supernet"]


@pytest.mark.parametrize("name", ["supernet", "retrain/fairnas_a"])
def test_unfinished_work_of_earlier_versions_without_a_manifest_is_gone_on_with(name: str, tmp_path: Path) -> None:
    (tmp_path / name).mkdir(parents=True)
    for file, text in {"config.yaml": "seed: 0", ".lock": "process 77 on host", f"{name}/.key": stage().key}.items():
        (tmp_path / file).write_text(text)
    with Run(tmp_path) as held:
        assert held.stages() == [name]


def test_half_written_files_are_removed_from_our_own_folders_only(run: Path) -> None:
    name = ".weights.safetensors.77.fairnas.tmp"
    (run / "mine" / "deeper").mkdir(parents=True)
    theirs = [run / "mine" / name, run / "mine" / "deeper" / name, run / ".thing.77.fairnas.tmp"]
    ours = [run / "supernet" / name, run / ".config.yaml.77.fairnas.tmp"]
    for path in (*theirs, *ours):
        path.touch()
    (run / "supernet" / ".folder.77.fairnas.tmp").mkdir()
    execute(run, stage())
    assert [path.exists() for path in theirs] == [True] * 3
    assert [path.exists() for path in ours] == [False] * 2
    assert (run / "supernet" / ".folder.77.fairnas.tmp").is_dir()


@pytest.mark.parametrize(
    "name",
    ["latency", "supernet/weights.safetensors", "similarity/feature_maps.png", "config.yaml", "manifest.json", ".lock"],
)
def test_a_link_in_a_run_folder_is_refused_and_what_it_leads_to_is_left(name: str, run: Path, tmp_path: Path) -> None:
    victim = tmp_path / "victim"
    victim.write_bytes((run / "manifest.json").read_bytes())
    (run / name).parent.mkdir(exist_ok=True)
    (run / name).unlink(missing_ok=True)
    (run / name).symlink_to(victim)
    before = victim.read_bytes()
    with pytest.raises(FairnasError, match=f"{name} is a link"):
        execute(run, stage(lr=1), forced="supernet")
    assert victim.read_bytes() == before


def test_a_link_to_a_folder_is_refused_and_nothing_in_it_is_touched(run: Path, tmp_path: Path) -> None:
    (tmp_path / "victim").mkdir()
    (tmp_path / "victim" / "table.json").write_text("mine")
    (run / "latency").symlink_to(tmp_path / "victim")
    with pytest.raises(UserError, match="latency is a link"):
        execute(run, stage("latency"))
    assert everything(tmp_path / "victim") == {"table.json": b"mine"}


def test_the_run_folder_itself_may_be_reached_through_a_link(run: Path, tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to(run)
    assert execute(tmp_path / "link", stage()) == [True]


def test_a_lock_shared_with_another_folder_is_not_written_through(run: Path, tmp_path: Path) -> None:
    (tmp_path / "victim").write_text("process 77 on host")
    (run / ".lock").unlink()
    (run / ".lock").hardlink_to(tmp_path / "victim")
    assert execute(run, stage()) == [True]
    assert (tmp_path / "victim").read_text() == "process 77 on host"


def test_somebody_elses_file_in_the_place_of_the_lock_is_refused_and_left(run: Path) -> None:
    (run / ".lock").write_text("mine")
    with pytest.raises(UserError, match=r"\.lock was not made as a lock: move it elsewhere"):
        execute(run, stage())
    assert (run / ".lock").read_text() == "mine"


def test_a_pipe_in_the_place_of_the_lock_is_refused_at_once(run: Path) -> None:
    (run / ".lock").unlink()
    os.mkfifo(run / ".lock")
    with pytest.raises(UserError, match="not a regular file"):
        execute(run, stage())


@pytest.mark.parametrize(
    "name", ["../victim", "retrain/../../victim", "/victim", "a/b/c", "x.previous", "a\nb", ".hidden", ""]
)
def test_a_stages_name_stays_inside(name: str, tmp_path: Path) -> None:
    with pytest.raises(FairnasError):
        execute(tmp_path / "run", stage(name))
    assert not (tmp_path / "victim").exists()
    assert sorted(path.name for path in (tmp_path / "run").iterdir()) == [".lock", "manifest.json"]


@pytest.mark.parametrize("preset", ["x/../../../victim", "..", "a/b", "a\x1b[2J", "n" * 200])
def test_a_presets_name_that_is_none_of_a_folder_is_refused(preset: str) -> None:
    with pytest.raises(FairnasError, match="cannot be the name of a run folder: give one with --run"):
        default_run("pixel", preset if "/" in preset else f"{preset}/")
    assert default_run("pixel", "tiny") == Path("runs/pixel-tiny")


# Locks.


def held_elsewhere(run: Path) -> tuple[int, int]:
    """A child that holds the folder; its id, and what is closed to end it."""
    read, write = os.pipe()
    ready, told = os.pipe()
    child = os.fork()
    if not child:
        os.close(write)
        with Run(run):
            os.write(told, b"x")
            os.read(read, 1)
        os._exit(0)
    os.close(read)
    os.read(ready, 1)
    return child, write


@pytest.mark.parametrize("removed", [False, True])
def test_a_second_run_is_refused_though_the_lock_was_removed(removed: bool, run: Path) -> None:
    child, end = held_elsewhere(run)
    try:
        if removed:
            (run / ".lock").unlink()
        with pytest.raises(UserError, match="is in use by"), Run(run):
            pass
    finally:
        os.close(end)
        os.waitpid(child, 0)
    assert execute(run, stage()) == [True]


def test_workers_of_a_killed_run_hold_nothing(run: Path) -> None:
    with Run(run):
        (read, write), (ready, begun) = os.pipe(), os.pipe()
        worker = os.fork()
        if not worker:
            os.close(write)
            os.write(begun, b"1")
            os.read(read, 1)  # until the parent ends it
            os._exit(0)
        os.close(read)
        os.read(ready, 1)
        with pytest.raises(UserError, match="is in use by"), Run(run):
            pass
    try:
        with Run(run):
            os.kill(worker, 0)
    finally:
        os.kill(worker, signal.SIGKILL)
        os.waitpid(worker, 0)
        for end in (write, ready, begun):
            os.close(end)


def test_a_folder_that_was_put_in_the_place_of_a_run_is_not_written_to(run: Path, tmp_path: Path) -> None:
    with Run(run) as held:
        run.rename(tmp_path / "moved")
        run.mkdir()
        with pytest.raises(UserError, match="was moved or removed"):
            held.execute(stage("search"))
    assert list(run.iterdir()) == []
