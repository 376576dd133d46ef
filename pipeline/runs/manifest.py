"""`manifest.json`: what a run folder holds, by stage. It may be damaged, or come from a stranger."""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ...common.errors import UnreadableFile
from ...common.files import write_json
from ...common.names import UnsafeNameError, safe_name
from ...common.reading import read_json
from ...common.text import plain
from ..errors import UserError

MANIFEST = "manifest.json"
FORMAT, FORMAT_VERSION = "fairnas run", 1
PREVIOUS, MOVING = ".previous", ".moving"  # endings of folders that hold a stage's earlier results
_WITHOUT_DOT = (".key", ".tuning")  # what stages keep hidden, and what is set aside with their work


def new_manifest() -> dict[str, Any]:
    """Of a run that has no stages yet."""
    return {"format": FORMAT, "format_version": FORMAT_VERSION, "stages": {}}


def is_manifest(value: Any) -> bool:
    """Whether this is meant as a run's manifest; other programs have a `manifest.json` too."""
    return isinstance(value, dict) and (value.get("format") == FORMAT or ("stages" in value and "format" not in value))


def read_manifest(folder: Path) -> dict[str, Any]:
    """The manifest of a run folder, also of earlier versions, which did not write their format's name.

    Returns:
        With `stages`, `previous` (earlier results that lie aside) and `moves` (files on the way), by stage.

    Raises:
        UserError: it is not there, is damaged, is another program's, or of a later version.
    """
    path = folder / MANIFEST
    try:
        value = read_json(path)
    except UnreadableFile as error:
        raise _damaged(path, str(error).removeprefix(plain(str(path))).strip(" :")) from None
    if isinstance(value, dict) and not is_manifest(value):
        raise UserError(f"{plain(str(path))} is another program's: name a new or an empty folder with --run")
    try:
        _check(value)
    except _BadFormError as error:
        raise _damaged(path, str(error)) from None
    if value.get("format_version", 1) > FORMAT_VERSION:
        raise UserError(f"{plain(str(path))} was written by a later version of fairnas: update it")
    return {**new_manifest(), **value}


def write_manifest(folder: Path, manifest: Mapping[str, Any]) -> None:
    """Replace the manifest."""
    write_json(folder / MANIFEST, {name: value for name, value in manifest.items() if value or name == "stages"})


def stage_name(name: object) -> str:
    """A stage's name, if its folder lies inside the run folder: `search`, `retrain/pick-1`.

    Raises:
        UnsafeNameError: its folder would lie elsewhere, or in the place of earlier results.
    """
    if not isinstance(name, str):
        raise UnsafeNameError("a stage's name is no text")
    parts = name.split("/")
    for part in parts:
        safe_name(part, "a stage")
    if len(parts) > 2 or any(part.endswith((PREVIOUS, MOVING)) for part in parts):
        raise UnsafeNameError(f"'{plain(name)}' cannot be the name of a stage")
    return name


def seconds_of(entry: Mapping[str, Any]) -> float:
    """How long a finished stage took, with what was spent before it was last resumed."""
    return entry.get("seconds", 0) + entry.get("seconds_before", 0)


class _BadFormError(Exception):
    """What is wrong with a manifest."""


def _damaged(path: Path, reason: str) -> UserError:
    reason = reason.removeprefix("is damaged: ")
    return UserError(
        f"{plain(str(path))} is damaged ({reason}): put a copy of it back, or name another folder with --run"
    )


def _check(value: Any) -> None:
    manifest = _mapping(value, "the manifest")
    version = manifest.get("format_version", 1)
    if not isinstance(version, int) or isinstance(version, bool):
        raise _BadFormError("format_version is no number")
    for name, entry in _mapping(manifest.get("stages"), "stages").items():
        _check_name(name)
        _check_entry(entry, name)
    for name, aside in _mapping(manifest.get("previous", {}), "previous").items():
        _check_name(name)
        _check_aside(aside, name)
    moves = manifest.get("moves", [])
    if not isinstance(moves, list):
        raise _BadFormError("moves is no list")
    for move in moves:
        _check_move(move)


def _check_name(name: Any) -> None:
    try:
        stage_name(name)
    except UnsafeNameError as error:
        raise _BadFormError(str(error)) from None


def _check_entry(entry: Any, name: str) -> None:
    what = f"stage {plain(name)}"
    entry = _mapping(entry, what)
    if not isinstance(entry.get("key"), str):
        raise _BadFormError(f"{what} has no key")
    outputs = _mapping(entry.get("outputs"), f"outputs of {what}")
    for output, digest in outputs.items():
        _check_file(output)
        if not isinstance(digest, str):
            raise _BadFormError(f"the digest of {plain(output)} of {what} is no text")
    _mapping(entry.get("config", {}), f"config of {what}")
    for digest in _mapping(entry.get("inputs", {}), f"inputs of {what}").values():
        if not isinstance(digest, str):
            raise _BadFormError(f"an input of {what} is no text")
    for part in ("versions", "machine"):
        _mapping(entry.get(part, {}), f"{part} of {what}")
    for part in ("seconds", "seconds_before"):
        _check_seconds(entry.get(part, 0), what)


def _check_aside(aside: Any, name: str) -> None:
    what = f"the earlier results of {plain(name)}"
    aside = _mapping(aside, what)
    if aside.get("entry") is not None:
        _check_entry(aside["entry"], name)
    if not isinstance(aside.get("key"), str):
        raise _BadFormError(f"{what} have no key")
    _check_seconds(aside.get("seconds"), what)
    _check_files(aside.get("files"))


def _check_move(move: Any) -> None:
    move = _mapping(move, "a move")
    _check_name(move.get("stage"))
    known = ("", PREVIOUS, MOVING)
    if move.get("from") not in known or move.get("to") not in (*known, None):
        raise _BadFormError("a move leads elsewhere")
    _check_files(move.get("files"))


def _check_files(files: Any) -> None:
    if not isinstance(files, list):
        raise _BadFormError("files is no list")
    for file in files:
        _check_file(file)


def _check_file(file: Any) -> None:
    """A file of a stage: plain names, one level of folders at most."""
    parts = file.split("/") if isinstance(file, str) else [file]
    try:
        for part in parts:
            safe_name(part.removeprefix(".") if part in _WITHOUT_DOT else part, "an output")
    except UnsafeNameError as error:
        raise _BadFormError(str(error)) from None
    if len(parts) > 2:
        raise _BadFormError(f"'{plain(file)}' cannot be the name of an output")


def _check_seconds(value: Any, what: str) -> None:
    if not isinstance(value, int | float) or isinstance(value, bool) or not value >= 0 or not math.isfinite(value):
        raise _BadFormError(f"seconds of {what} are no number")


def _mapping(value: Any, what: str) -> Mapping[str, Any]:
    if not isinstance(value, dict):
        raise _BadFormError(f"{what} is no object")
    return value
