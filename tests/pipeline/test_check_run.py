"""`fairnas check`: whatever was done to a run folder is found, and nothing is changed."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

import pytest
from fairnas.pipeline.errors import UserError
from fairnas.pipeline.runs import check as checks
from fairnas.pipeline.runs.checkpoint import Checkpoint
from fairnas.pipeline.runs.digested_lines import DigestedLines
from fairnas.pipeline.runs.run import Stage, Workspace
from typer.testing import CliRunner

from .stages import execute, pretend, stage, stopped


@pytest.fixture
def run(tmp_path: Path) -> Path:
    folder = tmp_path / "run"
    execute(folder, stage(), stage("retrain/pick-1"), settings="seed: 0")
    return folder


def tuning(run: Path, name: str) -> None:
    folder = run / "retrain/pick-1/.tuning"
    folder.mkdir()
    Checkpoint(folder / name, 1.0).save({"step": 1})
    content = (folder / name).read_bytes()
    (folder / name).write_bytes(content[:-1] + bytes([content[-1] ^ 1]))


def wrong(run: Path) -> list[str]:
    return [finding.path for finding in checks.failed(checks.check_run(run))]


def test_a_sound_run_has_no_findings_but_good_ones(run: Path) -> None:
    findings = checks.check_run(run)
    assert {finding.outcome for finding in findings} == {"ok"}
    checked = [finding.path for finding in findings if finding.what == "output"]
    assert checked == ["supernet/weights.safetensors", "retrain/pick-1/weights.safetensors"]


@pytest.mark.parametrize(
    ("damage", "path"),
    [
        (lambda run: (run / "supernet/weights.safetensors").write_text("other"), "supernet/weights.safetensors"),
        (lambda run: (run / "retrain/pick-1/weights.safetensors").unlink(), "retrain/pick-1/weights.safetensors"),
        (lambda run: pretend(run, "supernet", config={"lr": 9}), "supernet"),
        (lambda run: pretend(run, "supernet", inputs={"dataset": "other"}), "supernet"),
        (lambda run: pretend(run, "supernet", outputs=[]), "manifest.json"),
        (lambda run: (run / "manifest.json").write_text("{"), "manifest.json"),
        (lambda run: (run / "config.yaml").write_text("a: &a [*a]"), "config.yaml"),
        (lambda run: (run / "supernet/checkpoint.pt").write_bytes(b"x" * 100), "supernet/checkpoint.pt"),
        (lambda run: tuning(run, "checkpoint.pt"), "retrain/pick-1/.tuning/checkpoint.pt"),
        (lambda run: tuning(run, "checkpoint.previous.pt"), "retrain/pick-1/.tuning/checkpoint.previous.pt"),
        (lambda run: (run / "report").symlink_to(run.parent), "report"),
    ],
)
def test_what_was_done_to_it_is_found(damage: Callable[[Path], object], path: str, run: Path) -> None:
    damage(run)
    assert wrong(run) == [path]


def test_a_sound_checkpoint_and_unfinished_work_are_told(run: Path) -> None:
    with pytest.raises(KeyboardInterrupt):
        execute(run, stopped("search", lr=1))
    (run / "search/checkpoint.pt").unlink()
    Checkpoint(run / "search/checkpoint.pt", 1.0).save({"step": 1})
    findings = {finding.path: finding for finding in checks.check_run(run)}
    assert findings["search/checkpoint.pt"].outcome == "ok"
    assert "unfinished" in findings["search"].reason


@pytest.mark.parametrize("reported", [False, True])
def test_a_report_that_is_written_again_is_sound(reported: bool, run: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from fairnas.pipeline import report
    from fairnas.pipeline.cli import app as cli

    def write_report(folder: Path) -> Path:
        (folder / "report").mkdir(exist_ok=True)
        (folder / "report/index.html").write_text("new")
        return folder / "report/index.html"

    monkeypatch.setattr(report, "write_report", write_report)
    if reported:
        execute(run, replace(stage("report"), outputs=("index.html",), work=lambda work: page(work, "old")))
    assert CliRunner().invoke(cli.app, ["report", "--run", str(run)]).exit_code == 0
    assert (run / "report/index.html").read_text() == "new"
    assert wrong(run) == []


def page(work: Workspace, text: str) -> None:
    (work.folder / "index.html").write_text(text)


@pytest.mark.parametrize(("kind", "name"), [("search", "scores.jsonl"), ("rank", "journal.jsonl")])
@pytest.mark.parametrize("finished", [False, True])
def test_lines_that_were_changed_or_are_another_works_are_found(
    kind: str, name: str, finished: bool, run: Path
) -> None:
    def work(workspace: Workspace) -> None:
        DigestedLines(workspace.folder / name, workspace.owner.key).append(["[1]", "[2]"])
        if not finished:
            raise KeyboardInterrupt

    with suppress(KeyboardInterrupt):
        execute(run, Stage(kind, 1, {}, {}, (), work))
    path = run / kind / name
    assert [each.outcome for each in checks.check_run(run) if each.what == "lines"] == ["ok"]
    sound = path.read_text()
    for damaged in (sound.replace("[2]", "[3]"), sound.replace("[1]\n", "")):
        path.write_text(damaged)
        assert wrong(run) == [f"{kind}/{name}"]
        assert path.read_text() == damaged
    path.unlink()
    path.with_name(f"{name}.sha256").unlink()
    DigestedLines(path, "another work").append(["[1]"])
    assert wrong(run) == [f"{kind}/{name}"]


def test_links_are_named_and_not_followed(run: Path, tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "endless")
    (run / "supernet/weights.safetensors").unlink()
    (run / "supernet/weights.safetensors").symlink_to(tmp_path / "endless")
    assert set(wrong(run)) == {"supernet/weights.safetensors"}


def test_strays_are_told_and_left(run: Path) -> None:
    for name in ("notes.txt", "supernet/notes.txt"):
        (run / name).write_text("mine")
    notes = [finding.path for finding in checks.check_run(run) if finding.outcome == "note"]
    assert sorted(notes) == ["notes.txt", "supernet/notes.txt"]


def test_what_is_no_run_is_refused(tmp_path: Path) -> None:
    for folder in (tmp_path, tmp_path / "none"):
        with pytest.raises(UserError):
            checks.check_run(folder)


def test_the_command_prints_a_line_or_json_and_exits_2_where_something_is_wrong(run: Path) -> None:
    from fairnas.pipeline.cli.app import app

    sound = CliRunner().invoke(app, ["check", str(run), "--json"])
    assert sound.exit_code == 0
    assert {row["outcome"] for row in json.loads(sound.stdout)} == {"ok"}
    (run / "supernet/weights.safetensors").write_text("other")
    damaged = CliRunner().invoke(app, ["check", str(run)])
    assert isinstance(damaged.exception, UserError)  # which the command turns into exit code 2
    lines = damaged.stdout.splitlines()
    assert len(lines) == len(checks.check_run(run))
    assert [line for line in lines if line.startswith("failed")] == [
        "failed  supernet/weights.safetensors  output: it was changed after it was made"
    ]
