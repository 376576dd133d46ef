"""`fairnas check RUN`: is a whole run folder what its manifest says? Reads only, follows no link, believes nothing."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, TypeAlias

from ...common.errors import FairnasError
from ...common.files import sha256_json
from ...common.names import UnsafeNameError, inside
from ...common.reading import read_bytes, read_json, read_yaml
from ...common.text import plain
from ..errors import UserError
from .checkpoint_file import unsealed
from .digested_lines import damage_of
from .folder import CONFIG, KEY_FILE, links, stage_folders
from .lock import LOCK
from .manifest import MANIFEST, PREVIOUS, read_manifest
from .previous import Results
from .stage_files import strays
from .stage_names import CHECKPOINTS, STAGES, kind_of

Outcome: TypeAlias = Literal["ok", "note", "failed"]
_LARGEST = 1 << 40  # of an output, in bytes: weights may have any size


@dataclass(frozen=True)
class Finding:
    """What became of one check.

    Attributes:
        path: relative to the run folder.
        what: was looked at.
        outcome: `note` is nothing wrong, but worth knowing.
        reason: why it is not `ok`.
    """

    path: str
    what: str
    outcome: Outcome
    reason: str = ""


def check_run(folder: Path) -> list[Finding]:
    """Look at every file of a run folder.

    Raises:
        UserError: there is no such folder, or it is no run's.
    """
    if not folder.is_dir():
        raise UserError(f"{plain(str(folder))} is no folder")
    if not (folder / MANIFEST).exists() and not (folder / MANIFEST).is_symlink():
        raise UserError(f"{plain(str(folder))} is not a run folder: it has no {MANIFEST}")
    return list(_findings(folder))


def failed(findings: list[Finding]) -> list[Finding]:
    """Those that found something wrong."""
    return [finding for finding in findings if finding.outcome == "failed"]


def _findings(folder: Path) -> Iterator[Finding]:
    linked = [str(path.relative_to(folder)) for path in links(folder, STAGES)]
    for path in linked:
        yield Finding(plain(path), "link", "failed", "a link may lead out of the run folder: remove it")
    if MANIFEST in linked:
        return
    try:
        manifest = read_manifest(folder)
    except UserError as error:
        yield Finding(MANIFEST, "manifest", "failed", str(error))
        return
    yield Finding(MANIFEST, "manifest", "ok")
    if manifest.get("moves"):
        yield Finding(MANIFEST, "moves", "note", "files were being moved when a process ended: the next one goes on")
    yield from _config(folder)
    for stage, entry in manifest["stages"].items():
        yield from _stage(folder, stage, stage, entry)
    for stage, aside in manifest.get("previous", {}).items():
        results = Results.read(aside)
        if results.entry is not None:
            yield from _stage(folder, stage, stage + PREVIOUS, results.entry)
        yield from _work(folder, stage + PREVIOUS, results.key)
        yield Finding(plain(stage + PREVIOUS), "earlier results", "note", "they lie aside")
    for stage in stage_folders(folder, manifest["stages"]):
        yield from _work(folder, stage, manifest["stages"].get(stage, {}).get("key"))
    yield from _others(folder, manifest)


def _config(folder: Path) -> Iterator[Finding]:
    path = folder / CONFIG
    if not path.exists():
        return
    try:
        if not isinstance(read_yaml(path), dict):
            raise UserError("it holds no settings")
    except FairnasError as error:
        yield Finding(CONFIG, "settings", "failed", str(error))
    else:
        yield Finding(CONFIG, "settings", "ok")


def _stage(folder: Path, stage: str, place: str, entry: Mapping[str, Any]) -> Iterator[Finding]:
    parts = [stage, entry.get("version"), entry.get("config", {}), entry.get("inputs", {})]
    if sha256_json(parts) != entry["key"]:
        yield Finding(plain(place), "key", "failed", "it does not stand for the settings and inputs beside it")
    else:
        yield Finding(plain(place), "key", "ok")
    for name, digest in entry["outputs"].items():
        path = f"{place}/{name}"
        try:
            content = read_bytes(inside(folder, path), _LARGEST)
            if hashlib.sha256(content).hexdigest() != digest:
                raise UserError("it was changed after it was made")
            if name.endswith(".json"):
                read_json(folder / path)
        except FairnasError as error:
            yield Finding(plain(path), "output", "failed", str(error).removeprefix(plain(str(folder / path))).strip())
        else:
            yield Finding(plain(path), "output", "ok")


def _work(folder: Path, place: str, key: str | None) -> Iterator[Finding]:
    """What a stage's folder holds besides its outputs: checkpoints, and lines beside which their digests lie.

    Args:
        folder: of the run.
        place: of the stage, in it.
        key: of the stage; None where it is unfinished, and its folder holds the key.
    """
    for name in (*CHECKPOINTS, *(f".tuning/{each}" for each in CHECKPOINTS)):
        if (path := _file(folder, f"{place}/{name}")) is not None:
            sound = _is_sealed(path)
            reason = "" if sound else "it is not what was written: the one before it is used, or the stage starts again"
            yield Finding(plain(f"{place}/{name}"), "checkpoint", "ok" if sound else "failed", reason)
    key_file = _file(folder, f"{place}/{KEY_FILE}")
    if key is None and key_file is not None:
        yield Finding(plain(place), "stage", "note", "it is unfinished: the same command goes on with it")
    kind = kind_of(place.split("/")[0].removesuffix(PREVIOUS))
    lines = kind.lines if kind else None
    if lines and (path := _file(folder, f"{place}/{lines}")) is not None:
        try:
            if key is None:
                key = read_bytes(key_file).decode(errors="replace").partition("\n")[0] if key_file else ""
            damage = damage_of(path, key)
        except FairnasError as error:
            damage = str(error)
        reason = f"it {damage}: the lines before count" if damage else ""
        yield Finding(plain(f"{place}/{lines}"), "lines", "failed" if damage else "ok", reason)


def _file(folder: Path, name: str) -> Path | None:
    """A file that is there; None also where a link is on the way, which is named elsewhere."""
    try:
        path = inside(folder, name)
    except UnsafeNameError:
        return None
    return path if path.is_file() else None


def _is_sealed(path: Path) -> bool:
    try:
        content = read_bytes(path, _LARGEST)
    except FairnasError:
        return False
    return unsealed(content) is not None


def _others(folder: Path, manifest: dict[str, Any]) -> Iterator[Finding]:
    """What is not fairnas's: never touched, and shown in no report."""
    stages = {stage: list(entry["outputs"]) for stage, entry in manifest["stages"].items()}
    known = {MANIFEST, CONFIG, LOCK}
    kinds = {stage.split("/")[0] for stage in (*stages, *manifest.get("previous", {}), *STAGES)}
    for path in sorted(folder.iterdir()):
        name = path.name.removesuffix(PREVIOUS)
        if path.name not in known and name not in kinds and not path.is_symlink():
            yield Finding(plain(path.name), "stray", "note", "it is not fairnas's, and is left alone")
    for stage, outputs in stages.items():
        try:
            place = inside(folder, stage)
        except UnsafeNameError:
            continue
        for name in strays(place, stage, outputs):
            yield Finding(plain(f"{stage}/{name}"), "stray", "note", "it is not fairnas's, and is left alone")
