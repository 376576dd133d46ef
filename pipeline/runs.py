"""Run folders: which stages are done, with what, and what may be reused."""

from __future__ import annotations

import datetime
import fcntl
import json
import os
import platform
import shutil
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from importlib import metadata
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from ..common.files import TEMPORARY, sha256_file, sha256_json, write_atomic, write_json
from . import stopping
from .checkpoint import Checkpoint, Owner, previous_of
from .console import console
from .errors import UserError
from .provenance import commit, machine

CHECKPOINT = "checkpoint.pt"
KEY_FILE = ".key"
PACKAGES = ("fairnas", "torch", "torchvision", "timm", "onnx", "onnxruntime", "optuna", "pymoo", "numpy")


@dataclass(frozen=True)
class Stage:
    """Named work: configuration and inputs in, files out.

    Attributes:
        name: the stage's folder inside the run, for example `search` or `retrain/pick-1`.
        version: raised when the stage's code changes what it makes of the same inputs.
        config: the part of the configuration that decides the result.
        inputs: digests of what is read, by name.
        outputs: files it always leaves in its folder.
        work: does it; is given the stage's workspace, and may name more files that it left.
    """

    name: str
    version: int
    config: Mapping[str, Any]
    inputs: Mapping[str, str]
    outputs: tuple[str, ...]
    work: Callable[[Workspace], tuple[str, ...] | None] = field(compare=False)

    @property
    def key(self) -> str:
        """What must be unchanged for the outputs to be reused."""
        return sha256_json([self.name, self.version, dict(self.config), dict(self.inputs)])


@dataclass(frozen=True)
class Workspace:
    """Where a stage works.

    Args:
        folder: for its files.
        deadline: until when, of `time.monotonic()`; None for as long as it takes.
        start_again: whether to forget also what is kept elsewhere; the folder is empty then.
        owner: whose unfinished work it is, which the work's state names.
    """

    folder: Path
    deadline: float | None = None
    start_again: bool = False
    owner: Owner = field(default_factory=Owner)

    def checkpoint(self, interval: float) -> Checkpoint:
        """The checkpoint of unfinished work, saved every `interval` seconds."""
        return Checkpoint(self.folder / CHECKPOINT, interval, self.deadline, self.owner)


class Run:
    """A run folder, held by one process at a time.

    Raises:
        UserError: another process holds it, it cannot be written, or its manifest is damaged.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.forced: set[str] = set()
        self.deadline: float | None = None

    def __enter__(self) -> Self:
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            self._lock = (self.folder / ".lock").open("a+")
        except OSError as error:
            raise UserError(f"cannot write to run folder {self.folder}: {error.strerror}") from None
        try:
            # Not flock: worker processes would inherit that, and hold the folder after this process was killed.
            fcntl.lockf(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except (BlockingIOError, PermissionError):
            self._lock.seek(0)
            holder = self._lock.read().strip() or "another process"
            self._lock.close()
            raise UserError(
                f"run folder {self.folder} is in use by {holder}: wait for it, or name another with --run"
            ) from None
        try:
            self._lock.truncate(0)
            # Not through the file's buffer, which a full disk would keep from being closed.
            os.write(self._lock.fileno(), f"process {os.getpid()} on {platform.node()}".encode())
        except OSError as error:
            self._lock.close()
            raise UserError(f"cannot write to run folder {self.folder}: {error.strerror}") from None
        try:
            for half_written in self.folder.rglob(TEMPORARY):
                half_written.unlink()
            self.manifest = self._read_manifest()
        except BaseException:
            self._lock.close()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._lock.close()

    def _read_manifest(self) -> dict[str, Any]:
        path = self.folder / "manifest.json"
        if not path.exists():
            return {"stages": {}}
        try:
            manifest = json.loads(path.read_text())
            if all({"key", "outputs"} <= entry.keys() for entry in manifest["stages"].values()):
                return manifest
        except (ValueError, KeyError, TypeError, AttributeError):
            pass
        raise UserError(f"{path} is damaged: delete it to run every stage again")

    def write_config(self, text: str) -> None:
        """Keep the resolved configuration beside the results."""
        write_atomic(self.folder / "config.yaml", text)

    def execute(self, stage: Stage) -> bool:
        """Run a stage unless its outputs are there and still stand for the same key.

        Returns:
            True when the outputs were reused.
        """
        stopping.stop_if_wanted()
        forced = stage.name.split("/")[0] in self.forced
        if not forced and self._is_current(stage):
            _tidy(self.folder / stage.name)
            console.print(f"[green]cached[/]  {stage.name}")
            return True
        console.print(f"[bold]running[/] {stage.name}")
        self._forget(stage.name)
        folder, resumed = self._open_folder(stage, start_again=forced)
        started = time.monotonic()
        owner = Owner(stage.name, stage.key)
        more = stage.work(Workspace(folder, self.deadline, start_again=forced, owner=owner)) or ()
        self.manifest["stages"][stage.name] = {
            "key": stage.key,
            "version": stage.version,
            "seconds": round(time.monotonic() - started, 3),
            "resumed": resumed,  # then the seconds are those since the last resumption
            "finished": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
            "config": dict(stage.config),
            "inputs": dict(stage.inputs),
            "outputs": {name: sha256_file(folder / name) for name in (*stage.outputs, *more)},
        }
        self._write_manifest()
        _tidy(folder)
        return False

    def discard(self, stage: str) -> None:
        """Remove a stage that no longer belongs to the run, with its files."""
        shutil.rmtree(self.folder / stage, ignore_errors=True)
        self._forget(stage)

    def stages(self) -> list[str]:
        """Names of the finished stages, and of unfinished ones that left files."""
        unfinished = {str(file.parent.relative_to(self.folder)) for file in self.folder.rglob(KEY_FILE)}
        return [*self.manifest["stages"], *sorted(unfinished - self.manifest["stages"].keys())]

    def _forget(self, stage: str) -> None:
        if self.manifest["stages"].pop(stage, None):
            self._write_manifest()

    def _write_manifest(self) -> None:
        self.manifest |= {"commit": commit(), "versions": versions(), "machine": machine()}
        write_json(self.folder / "manifest.json", self.manifest)

    def _open_folder(self, stage: Stage, start_again: bool) -> tuple[Path, bool]:
        """The stage's folder, and whether it holds unfinished work of the same key; any other files are removed."""
        folder = self.folder / stage.name
        key_file = folder / KEY_FILE
        resumed = not start_again and key_file.is_file() and key_file.read_bytes() == stage.key.encode()
        if not resumed:
            # Sub-folders are stages of their own.
            for file in folder.iterdir() if folder.exists() else ():
                if file.is_file():
                    file.unlink()
            write_atomic(key_file, stage.key)
        return folder, resumed

    def _is_current(self, stage: Stage) -> bool:
        entry = self.manifest["stages"].get(stage.name)
        if not entry:
            return False
        if entry["key"] != stage.key:
            console.print(f"[yellow]{stage.name}: {_what_changed(stage, entry)}: earlier results are replaced[/]")
            return False
        for name in dict.fromkeys([*stage.outputs, *entry["outputs"]]):
            path = self.folder / stage.name / name
            if not path.is_file() or sha256_file(path) != entry["outputs"].get(name):
                console.print(f"[yellow]{path} is missing or was changed: running {stage.name} again[/]")
                return False
        return True

    def digest(self, stage: str, output: str) -> str:
        """Digest of a finished stage's output."""
        return self.manifest["stages"][stage]["outputs"][output]


def _what_changed(stage: Stage, entry: Mapping[str, Any]) -> str:
    """In words, why a finished stage no longer stands."""
    parts = {"version": stage.version} | dict(stage.config) | dict(stage.inputs)
    before = {"version": entry.get("version")} | entry.get("config", {}) | entry.get("inputs", {})
    changed = [name for name, value in parts.items() if sha256_json(before.get(name)) != sha256_json(value)]
    return f"{', '.join(changed) or 'configuration'} changed"


def _tidy(folder: Path) -> None:
    """Remove what only unfinished work needs."""
    for leftover in (folder / CHECKPOINT, previous_of(folder / CHECKPOINT), folder / KEY_FILE):
        leftover.unlink(missing_ok=True)


@lru_cache
def versions() -> dict[str, str]:
    """Versions of Python and of the packages that decide results."""
    return {"python": platform.python_version()} | {name: metadata.version(name) for name in PACKAGES}
