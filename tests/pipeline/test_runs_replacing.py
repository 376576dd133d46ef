"""Earlier results: aside until the new ones are complete, back when these fail, and asked about when they took long."""

from __future__ import annotations

import itertools
import json
import os
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from fairnas.pipeline.errors import Paused, UserError
from fairnas.pipeline.runs import previous, replacing
from fairnas.pipeline.runs import run as runs
from fairnas.pipeline.runs.run import Run

from .stages import LONG, contents, execute, pretend, stage, stopped

WEIGHTS = "supernet/weights.safetensors"
ASIDE = "supernet.previous/weights.safetensors"
EARLIER, CHANGED = stage(lr=0.05), stage(result="new", lr=0.051)


@pytest.fixture
def run(tmp_path: Path) -> Path:
    """A run whose supernet is trained."""
    folder = tmp_path / "run"
    execute(folder, EARLIER)
    return folder


@pytest.mark.parametrize(
    "error", [KeyboardInterrupt(), Paused(), UserError("it diverged"), OSError(28, "No space left on device")]
)
def test_earlier_results_are_back_when_the_changed_stage_fails_or_is_interrupted(
    error: BaseException, run: Path
) -> None:
    with pytest.raises(type(error)):
        execute(run, stopped(error=error, lr=0.051))
    assert (run / WEIGHTS).read_text() == "result"
    assert execute(run, EARLIER) == [True]


def test_unfinished_work_lies_aside_meanwhile_and_is_gone_on_with(run: Path) -> None:
    with pytest.raises(KeyboardInterrupt):
        execute(run, stopped(lr=0.051))
    assert execute(run, EARLIER) == [True]
    assert (run / "supernet.previous" / "checkpoint.pt").read_text() == "half"

    def resume(workspace: runs.Workspace) -> None:
        assert (workspace.folder / "checkpoint.pt").read_text() == "half"
        (workspace.folder / "weights.safetensors").write_text("new")

    assert execute(run, replace(CHANGED, work=resume)) == [False]
    with Run(run) as held:
        assert held.manifest["stages"]["supernet"]["resumed"] is True
    assert contents(run) == {WEIGHTS: "new"}


def test_earlier_results_lie_aside_until_the_whole_command_is_done(run: Path) -> None:
    assert execute_failing(run, CHANGED) == [False]
    assert contents(run) == {WEIGHTS: "new", ASIDE: "result"}
    # Both are found, whichever is asked for.
    assert execute_failing(run, EARLIER) == [True]
    assert contents(run) == {WEIGHTS: "result", ASIDE: "new"}
    assert execute_failing(run, CHANGED) == [True]
    assert execute(run, CHANGED) == [True]
    assert contents(run) == {WEIGHTS: "new"}
    assert not (run / "supernet.previous").exists()


def test_what_lies_aside_is_no_stage(run: Path) -> None:
    with pytest.raises(KeyboardInterrupt):
        execute(run, stopped(lr=0.051))
    assert (run / "supernet.previous" / ".key").exists()
    with Run(run) as held:
        assert held.stages() == ["supernet"]


def test_what_took_long_is_replaced_only_when_force_names_it(run: Path) -> None:
    pretend(run, "supernet", seconds=LONG)
    before = contents(run), (run / "manifest.json").read_text()
    with pytest.raises(
        UserError, match=r"supernet: lr changed, and its earlier results took 3 h 0 min: .*--force supernet"
    ):
        execute(run, CHANGED, settings="lr: 0.051")
    assert (contents(run), (run / "manifest.json").read_text()) == before
    assert execute(run, EARLIER) == [True]
    assert execute(run, CHANGED, forced="supernet") == [False]
    assert contents(run) == {WEIGHTS: "new"}


def test_time_spent_before_the_last_resumption_counts(run: Path) -> None:
    pretend(run, "supernet", seconds=20.0, seconds_before=590.0)
    with pytest.raises(UserError, match="took 10 min"):
        execute(run, CHANGED)


def test_ten_minutes_are_replaced_without_a_question(run: Path) -> None:
    pretend(run, "supernet", seconds=600.0)
    assert execute(run, CHANGED) == [False]


def test_long_unfinished_work_is_not_dropped_for_other_settings(tmp_path: Path) -> None:
    run = tmp_path / "run"
    with pytest.raises(KeyboardInterrupt):
        execute(run, stopped(lr=0.05))
    key = run / "supernet" / ".key"
    began = key.stat().st_mtime - LONG  # as if the checkpoint had been saved hours later
    os.utime(key, (began, began))
    with pytest.raises(UserError, match="its unfinished work is of other settings, and its earlier results took 3 h"):
        execute(run, CHANGED)
    assert (run / "supernet" / "checkpoint.pt").read_text() == "half"
    # Gone on with, the hours are remembered.
    execute(run, EARLIER)
    with Run(run) as held:
        assert held.manifest["stages"]["supernet"]["seconds_before"] == pytest.approx(LONG, abs=60)


def test_a_damaged_file_of_what_took_long_does_not_start_it_again(run: Path) -> None:
    pretend(run, "supernet", seconds=LONG)
    (run / WEIGHTS).write_text("damaged")
    with pytest.raises(UserError, match=f"{WEIGHTS} is missing or was changed, and its earlier results took"):
        execute(run, EARLIER)
    assert (run / WEIGHTS).read_text() == "damaged"


@pytest.mark.parametrize(("answer", "replaced"), [("y", True), ("yes", True), ("", False), ("n", False), (None, False)])
def test_on_a_terminal_there_is_a_question(
    answer: str | None, replaced: bool, run: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def reply(*_: object, **__: object) -> str:
        if answer is None:
            raise EOFError
        return answer

    pretend(run, "supernet", seconds=LONG)
    monkeypatch.setattr("sys.stdin", type("Terminal", (), {"isatty": lambda _: True})())
    monkeypatch.setattr(replacing.console, "_force_terminal", True)
    monkeypatch.setattr(replacing.console, "input", reply)
    if replaced:
        assert execute(run, CHANGED) == [False]
    else:
        with pytest.raises(UserError, match="took 3 h"):
            execute(run, CHANGED)
    assert (run / WEIGHTS).read_text() == ("new" if replaced else "result")


def test_a_forced_stage_that_is_interrupted_is_gone_on_with_and_the_earlier_results_lie_aside(run: Path) -> None:
    with pytest.raises(KeyboardInterrupt):
        execute(run, stopped(lr=0.05), forced="supernet")
    assert (run / ASIDE).read_text() == "result"
    assert execute(run, stage(result="again", lr=0.05)) == [False]
    assert contents(run) == {WEIGHTS: "again"}


def test_somebodys_file_in_the_way_is_not_overwritten(run: Path) -> None:
    (run / "supernet.previous").mkdir()
    (run / ASIDE).write_text("mine")
    with pytest.raises(UserError, match=f"{ASIDE} is in the way"):
        execute(run, CHANGED)
    assert contents(run) == {WEIGHTS: "result", ASIDE: "mine"}
    assert execute(run, EARLIER) == [True]


def test_results_that_left_the_run_do_not_come_back_for_other_ones(run: Path) -> None:
    pick = stage("retrain/pick-1", architecture="a")
    execute(run, pick)
    with Run(run) as held:
        held.discard("retrain/pick-1")
    with pytest.raises(UserError):
        execute(run, stopped("retrain/pick-1", UserError("no"), architecture="b"))
    with Run(run) as held:
        assert "retrain/pick-1" not in held.manifest["stages"]
    assert (run / "retrain/pick-1.previous/weights.safetensors").read_text() == "result"


def test_a_pick_that_took_long_and_left_the_run_stays_aside_for_good(run: Path) -> None:
    pick, other = stage("retrain/pick-1", architecture="a"), stage("retrain/pick-1", "other", architecture="b")
    execute(run, pick)
    pretend(run, "retrain/pick-1", seconds=LONG)
    with Run(run) as held:
        held.discard("retrain/pick-1")
    execute(run, other)
    assert (run / "retrain/pick-1.previous/weights.safetensors").read_text() == "result"
    assert execute(run, pick) == [True]


# Settings.


def test_a_refused_command_leaves_the_settings_as_they_were(run: Path) -> None:
    execute(run, EARLIER, settings="lr: 0.05")
    table = replace(stage("latency", resolution=64), settles=False)
    execute_failing(run, EARLIER, table, settings="lr: 0.05, limit: impossible")
    assert (run / "config.yaml").read_text() == "lr: 0.05"
    with pytest.raises(UserError):
        execute(run, stopped(error=UserError("it diverged"), lr=1e30), settings="lr: 1e30")
    assert (run / "config.yaml").read_text() == "lr: 0.05"
    execute(run, CHANGED, settings="lr: 0.051")
    assert (run / "config.yaml").read_text() == "lr: 0.051"


def test_an_interrupted_first_run_has_its_settings(tmp_path: Path) -> None:
    with pytest.raises(KeyboardInterrupt):
        execute(tmp_path / "run", stopped(lr=0.05), settings="lr: 0.05")
    assert (tmp_path / "run" / "config.yaml").read_text() == "lr: 0.05"


# Kills. Each operation on files may be the last one.


def survivors(run: Path, command: Callable[[], object], until: int) -> bool:
    """Run a command in a child that dies before its n-th write or move; whether it got to its end."""
    child = os.fork()
    if child:
        return os.waitpid(child, 0)[1] == 0
    left = until

    def counted(function: Callable[..., object]) -> Callable[..., object]:
        def call(*arguments: object, **more: object) -> object:
            nonlocal left
            if left == 0:
                os._exit(9)
            left -= 1
            return function(*arguments, **more)

        return call

    previous.write_manifest = runs.write_manifest = counted(runs.write_manifest)  # type: ignore[assignment]
    runs.write_atomic = counted(runs.write_atomic)  # type: ignore[assignment]
    Path.rename = counted(Path.rename)  # type: ignore[method-assign,assignment]
    Path.unlink = counted(Path.unlink)  # type: ignore[method-assign,assignment]
    try:
        command()
    except KeyboardInterrupt:
        pass
    finally:
        os._exit(0)
    return True


def test_a_kill_at_any_moment_loses_neither_the_earlier_nor_the_new_results(tmp_path: Path) -> None:
    """Earlier results, replaced by new ones and asked for again, in a command that fails in the end."""

    def there_and_back(run: Path) -> None:
        with Run(run) as held:
            held.execute(two(0.051, "new"))
            held.execute(two(0.05, "result"))
            held.execute(two(0.051, "new"))
            raise KeyboardInterrupt

    for moment in itertools.count():
        run = tmp_path / str(moment)
        execute(run, two(0.05, "result"))
        done = survivors(run, lambda run=run: there_and_back(run), moment)
        assert execute_failing(run, two(0.05, "result")) == [True], f"killed before operation {moment}"
        assert {run / "supernet" / name: "result" for name in ("a", "weights.safetensors")} == texts(run)
        execute_failing(run, two(0.051, "new"))
        assert {run / "supernet" / name: "new" for name in ("a", "weights.safetensors")} == texts(run)
        assert execute_failing(run, two(0.05, "result")) == [True]
        assert json.loads((run / "manifest.json").read_text()).get("moves", []) == []
        assert not (run / "supernet.moving").exists()
        if done:
            assert moment > 20
            break


def two(lr: float, result: str) -> runs.Stage:
    def work(workspace: runs.Workspace) -> None:
        for name in ("a", "weights.safetensors"):
            (workspace.folder / name).write_text(result)

    return runs.Stage("supernet", 1, {"lr": lr}, {}, ("a", "weights.safetensors"), work)


def texts(run: Path) -> dict[Path, str]:
    return {path: path.read_text() for path in (run / "supernet").iterdir()}


def execute_failing(run: Path, *what: runs.Stage, settings: str | None = None) -> list[bool]:
    """Execute in a command that fails later on, so that what lies aside is not let go of."""
    found: list[bool] = []

    def command() -> None:
        with Run(run) as held:
            held.settings = settings
            found.extend(held.execute(each) for each in what)
            raise UserError("a later stage fails")

    with pytest.raises(UserError, match="a later stage fails"):
        command()
    return found
