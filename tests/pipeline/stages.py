"""Stages that leave what they are told to, for tests of run folders."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from fairnas.common.files import write_json
from fairnas.pipeline.runs.run import Run, Stage, Workspace

LONG = 3 * 3600.0  # seconds: nobody wants to spend them again


def stage(name: str = "supernet", result: str = "result", **config: Any) -> Stage:
    """A stage that leaves `weights.safetensors` with the text `result`, and counts nothing."""

    def work(workspace: Workspace) -> None:
        (workspace.folder / "weights.safetensors").write_text(result)

    return Stage(name, 1, config or {"lr": 0.05}, {"dataset": "d"}, ("weights.safetensors",), work)


def stopped(name: str = "supernet", error: BaseException | None = None, **config: Any) -> Stage:
    """A stage that leaves a checkpoint, and is stopped."""

    def work(workspace: Workspace) -> None:
        (workspace.folder / "checkpoint.pt").write_text("half")
        raise error or KeyboardInterrupt

    return Stage(name, 1, config, {"dataset": "d"}, ("weights.safetensors",), work)


def execute(folder: Path, *stages: Stage, forced: str = "", settings: str | None = None) -> list[bool]:
    """Execute stages as one command would; which of them were reused."""
    with Run(folder) as run:
        run.forced, run.settings = {forced}, settings
        return [run.execute(each) for each in stages]


def pretend(folder: Path, name: str, **values: Any) -> None:
    """Change what the manifest says of a finished stage."""
    manifest = json.loads((folder / "manifest.json").read_text())
    manifest["stages"][name] |= values
    write_json(folder / "manifest.json", manifest)


def contents(folder: Path) -> Mapping[str, str]:
    """All files below a folder, but the lock and the manifest."""
    return {
        str(path.relative_to(folder)): path.read_text()
        for path in sorted(folder.rglob("*"))
        if path.is_file() and path.name not in (".lock", "manifest.json")
    }
