"""Run folders: which stages are done, with what, and what may be reused."""

from __future__ import annotations

import datetime
import math
import platform
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from functools import lru_cache
from importlib import metadata
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from ...common.errors import FairnasError
from ...common.files import sha256_file, sha256_json, write_atomic
from ...common.names import inside, safe_name
from ...common.text import plain, shown
from ..console import console
from ..errors import UserError
from . import stopping
from .checkpoint import Checkpoint, Owner
from .checkpoint_file import CHECKPOINT
from .folder import CONFIG, KEY_FILE, remove_half_written, require_ours, stage_folders
from .lock import FolderLock
from .manifest import MANIFEST, new_manifest, read_manifest, stage_name, write_manifest
from .previous import PreviousResults, Results
from .provenance import commit, machine
from .replacing import FREE_SECONDS, ask, what_changed
from .stage_files import UNFINISHED, changed_output, own_files, strays

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
        settles: whether the command's settings are known to be good once it runs; what only prepares the checks of
            them does not.
    """

    name: str
    version: int
    config: Mapping[str, Any]
    inputs: Mapping[str, str]
    outputs: tuple[str, ...]
    work: Callable[[Workspace], tuple[str, ...] | None] = field(compare=False)
    settles: bool = True

    @property
    def kind(self) -> str:
        """What `--force` calls it."""
        return self.name.split("/")[0]

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

    Attributes:
        folder: where it lies.
        forced: stages, or kinds of them, that are made anew, whatever they have.
        deadline: of `time.monotonic()`, until when stages may work; None for as long as it takes.
        settings: of this command, as `config.yaml` is to hold them; None of a command that has none.
        manifest: of the finished stages.

    Raises:
        UserError: another process holds it, it cannot be written, it is not fairnas's, or its manifest is damaged.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.forced: set[str] = set()
        self.deadline: float | None = None
        self.settings: str | None = None
        self._executed: dict[str, bool] = {}  # stages, and whether they were reused

    def __enter__(self) -> Self:
        require_ours(self.folder)
        self._lock = FolderLock(self.folder)
        try:
            require_ours(self.folder)  # what was there before anybody could be kept out
            self.manifest = self._manifest()
            self._previous = PreviousResults(self.folder, self.manifest)
            self._previous.finish_moves()
            remove_half_written(self.folder, self.stages())
        except BaseException:
            self._lock.close()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            if kind is None and self._executed:
                self._keep_settings()
                self._let_go_of_what_was_replaced()
        finally:
            self._lock.close()

    def execute(self, stage: Stage) -> bool:
        """Run a stage unless its outputs are there and still stand for the same key.

        Earlier results of other settings lie aside until the command is done, and come back when the stage fails.

        Returns:
            True when the outputs were reused.

        Raises:
            UserError: earlier results took long, and nobody said that they may be replaced.
        """
        stopping.stop_if_wanted()
        stage_name(stage.name)
        self._lock.check()
        forced = self._is_forced(stage.name)
        if not forced and (self._is_current(stage) or self._is_current_again(stage)):
            self._tidy(stage.name)
            self._executed[stage.name] = True
            console.print(f"[green]cached[/]  {shown(stage.name)}")
            return True
        spent = self._make_room(stage, forced)
        console.print(f"[bold]running[/] {shown(stage.name)}")
        folder = inside(self.folder, stage.name)
        write_atomic(folder / KEY_FILE, f"{stage.key}\n{spent or 0:.3f}\n")
        if stage.settles and not (self.folder / CONFIG).exists():
            self._keep_settings()
        started = time.monotonic()
        try:
            owner = Owner(stage.name, stage.key)
            more = stage.work(Workspace(folder, self.deadline, start_again=forced, owner=owner)) or ()
        except BaseException as error:
            self._come_back(stage, forced and not isinstance(error, FairnasError))
            raise
        outputs = {safe_name(name, "an output"): sha256_file(folder / name) for name in (*stage.outputs, *more)}
        self._lock.check()
        self._finish(stage, outputs, time.monotonic() - started, spent)
        return False

    def discard(self, stage: str) -> None:
        """Set aside a stage that no longer belongs to the run.

        Raises:
            UserError: something that took long would have to make way for it.
        """
        in_place = self._in_place(stage)
        if in_place is not None:
            self._displace(stage, replace(in_place, discarded=True), self._is_forced(stage))

    def _is_forced(self, stage: str) -> bool:
        return not self.forced.isdisjoint((stage, stage.split("/")[0]))

    def renew(self, stage: str) -> None:
        """Take a finished stage's outputs as they are now: a command has written them again, outside of its work."""
        entry = self.manifest["stages"].get(stage)
        if entry is not None:
            self._lock.check()
            folder = self.folder / stage
            entry["outputs"] = {name: sha256_file(inside(folder, name)) for name in entry["outputs"]}
            write_manifest(self.folder, self.manifest)

    def stages(self) -> list[str]:
        """Names of the finished stages, and of unfinished ones that left files."""
        return stage_folders(self.folder, self.manifest["stages"])

    def digest(self, stage: str, output: str) -> str:
        """Digest of a finished stage's output."""
        return self.manifest["stages"][stage]["outputs"][output]

    def _manifest(self) -> dict[str, Any]:
        if (self.folder / MANIFEST).exists():
            return read_manifest(self.folder)
        manifest = new_manifest()
        try:
            write_manifest(self.folder, manifest)  # first: it makes this folder known as a run's
        except OSError as error:
            raise UserError(f"cannot write to run folder {plain(str(self.folder))}: {error.strerror}") from None
        return manifest

    def _keep_settings(self) -> None:
        """Write the resolved configuration beside the results."""
        if self.settings is not None:
            write_atomic(self.folder / CONFIG, self.settings)

    # Is it done already?

    def _is_current(self, stage: Stage) -> bool:
        entry = self.manifest["stages"].get(stage.name)
        return entry is not None and entry["key"] == stage.key and self._changed(stage) is None

    def _is_current_again(self, stage: Stage) -> bool:
        """Whether what lies aside is this stage's; it, or unfinished work of this stage, is put back in place."""
        aside, in_place = self._previous.of(stage.name), self._in_place(stage.name, stage.outputs)
        if aside is None or aside.key != stage.key or (in_place and not in_place.entry and in_place.key == stage.key):
            return False
        if aside.entry is not None and not self._previous.stand(stage.name):
            return False
        self._previous.exchange(stage.name, in_place)
        return self._is_current(stage)

    def _changed(self, stage: Stage) -> str | None:
        entry = self.manifest["stages"][stage.name]
        return changed_output(self.folder / stage.name, entry["outputs"], stage.outputs)

    # Room for new results.

    def _make_room(self, stage: Stage, forced: bool) -> float | None:
        """Move or remove what earlier work left.

        Returns:
            Seconds that were spent on unfinished work of the same key, which is gone on with; None where there is none.
        """
        folder, in_place = self.folder / stage.name, self._in_place(stage.name, stage.outputs)
        if in_place is not None:
            if not forced and in_place.entry is None and in_place.key == stage.key:
                return in_place.seconds
            why = self._why(stage, in_place)
            if not forced:
                ask(stage.name, why, in_place.seconds)
                where = "" if in_place.entry is None else f": earlier results lie in {stage.name}.previous"
                console.print(f"[yellow]{shown(stage.name)}: {shown(why + where)}[/]", soft_wrap=True)
            self._displace(stage.name, in_place, forced or in_place.seconds > FREE_SECONDS)
        if others := strays(folder, stage.name, ()):
            named = ", ".join(others[:3]) + (", ..." if len(others) > 3 else "")
            console.print(f"[yellow]{shown(folder)}: not fairnas's, and left alone: {shown(named)}[/]", soft_wrap=True)
        return None

    def _why(self, stage: Stage, in_place: Results) -> str:
        if in_place.entry is None:
            return "its unfinished work is of other settings"
        if in_place.key == stage.key:
            changed = self._changed(stage)
            return f"{self.folder / stage.name / changed} is missing or was changed" if changed else "it is forced"
        return what_changed(_decides(in_place.entry), {"version": stage.version, **stage.config, **stage.inputs})

    def _displace(self, stage: str, in_place: Results, asked: bool) -> None:
        """Set results aside. There is room for one: finished stay rather than unfinished, costly rather than cheap."""
        aside = self._previous.of(stage)
        stays = aside is not None and aside.entry is not None
        if stays and in_place.entry is not None:
            assert aside is not None
            stays = aside.seconds > FREE_SECONDS >= in_place.seconds and not asked
        lost = in_place if stays else aside
        if lost is not None and not asked and not lost.asked:
            ask(stage, "there is room for one earlier result", lost.seconds)
        if stays:
            self._previous.remove_in_place(stage, in_place)
        else:
            self._previous.set_aside(stage, replace(in_place, asked=asked))

    def _in_place(self, stage: str, outputs: tuple[str, ...] = ()) -> Results | None:
        """What a stage's folder holds of its own; None where there is nothing."""
        entry, folder = self.manifest["stages"].get(stage), inside(self.folder, stage)
        files = own_files(folder, stage, [*outputs, *(entry["outputs"] if entry else ())])
        if entry is not None:
            return Results.finished(entry, files)
        if not files:
            return None
        key, spent = _unfinished(folder, files)
        return Results(None, key, spent, tuple(files))

    # Afterwards.

    def _finish(self, stage: Stage, outputs: dict[str, str], seconds: float, spent: float | None) -> None:
        made = {"commit": commit(), "versions": versions(), "machine": machine()}
        self.manifest["stages"][stage.name] = {
            "key": stage.key,
            "version": stage.version,
            "seconds": round(seconds, 3),
            "resumed": spent is not None,  # then the seconds are those since the last resumption
            "seconds_before": round(spent or 0, 3),
            "finished": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
            "config": dict(stage.config),
            "inputs": dict(stage.inputs),
            "outputs": outputs,
            **made,
        }
        self.manifest |= made  # of whoever worked here last
        write_manifest(self.folder, self.manifest)
        self._executed[stage.name] = False
        self._tidy(stage.name)
        if stage.settles:
            self._keep_settings()

    def _come_back(self, stage: Stage, stays_unfinished: bool) -> None:
        """Put earlier results back in their place; the unfinished work lies aside, and is gone on with when asked."""
        aside = self._previous.of(stage.name)
        if stays_unfinished or aside is None or aside.discarded or not self._previous.stand(stage.name):
            return
        try:
            self._previous.exchange(stage.name, self._in_place(stage.name, stage.outputs))
        except (OSError, FairnasError) as error:  # a full disk; they lie aside, and are found there
            console.print(f"[yellow]{shown(stage.name)}: earlier results stay aside: {shown(error)}[/]", soft_wrap=True)
        else:
            console.print(f"[yellow]{shown(stage.name)}: earlier results are back in their place[/]", soft_wrap=True)

    def _let_go_of_what_was_replaced(self) -> None:
        """The command is done: what its stages replaced is needed no more, unless it took long and nobody said so."""
        for stage, reused in self._executed.items():
            aside = self._previous.of(stage)
            if aside is None or not aside.key or stage not in self.manifest["stages"]:
                continue
            waits_to_be_gone_on_with = reused and aside.entry is None
            if not waits_to_be_gone_on_with and (aside.asked or aside.seconds <= FREE_SECONDS):
                self._previous.remove(stage)

    def _tidy(self, stage: str) -> None:
        """Remove what only unfinished work needs."""
        for leftover in UNFINISHED:
            inside(self.folder, stage, leftover).unlink(missing_ok=True)


def _decides(entry: Mapping[str, Any]) -> dict[str, Any]:
    """What decided the result of a finished stage."""
    return {"version": entry.get("version"), **entry.get("config", {}), **entry.get("inputs", {})}


def _unfinished(folder: Path, files: list[str]) -> tuple[str, float]:
    """Of unfinished work: the key, and about how many seconds were spent on it."""
    path = folder / KEY_FILE
    if KEY_FILE not in files:
        return "", 0.0
    key, _, before = path.read_text(errors="replace").partition("\n")
    try:
        seconds = float(before or 0)  # earlier versions wrote the key only
    except ValueError:
        seconds = 0.0
    seconds = seconds if 0 <= seconds < math.inf else 0.0
    began, last = path.stat().st_mtime, max((folder / name).stat().st_mtime for name in files)
    return key.strip(), seconds + max(0.0, last - began)


@lru_cache
def versions() -> dict[str, str]:
    """Versions of Python and of the packages that decide results."""
    return {"python": platform.python_version()} | {name: metadata.version(name) for name in PACKAGES}
