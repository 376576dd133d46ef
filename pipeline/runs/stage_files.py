"""Which files of a stage's folder are the stage's own: those it may move or remove. All others are somebody's."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from fnmatch import fnmatchcase
from pathlib import Path

from ...common.files import is_temporary, sha256_file, sync_folder
from ...common.names import inside
from ...exporters.formats import file_names
from ..errors import UserError
from .digested_lines import DIGESTS
from .folder import KEY_FILE
from .stage_names import CHECKPOINTS, kind_of

UNFINISHED = (*CHECKPOINTS, KEY_FILE)  # what only unfinished work needs


def own_files(folder: Path, stage: str, outputs: Iterable[str]) -> list[str]:
    """The stage's own files in its folder, relative to it.

    Args:
        folder: of the stage.
        stage: its name.
        outputs: what it is known to have left.
    """
    kind = kind_of(stage)
    lines = (kind.lines, kind.lines + DIGESTS) if kind and kind.lines else ()
    models = file_names() if stage.split("/")[0] == "export" else ()
    patterns = (*(kind.own_files if kind else ()), *models, *lines, *UNFINISHED)
    outputs = set(outputs)
    return [
        name for name in _files(folder) if name in outputs or any(fnmatchcase(name, pattern) for pattern in patterns)
    ]


def strays(folder: Path, stage: str, outputs: Iterable[str]) -> list[str]:
    """Files in a stage's folder that are not its own."""
    own = set(own_files(folder, stage, outputs))
    return [name for name in _files(folder) if name not in own and not is_temporary(folder / name)]


def changed_output(folder: Path, digests: Mapping[str, str], needed: Iterable[str] = ()) -> str | None:
    """The first of the outputs that is missing or was changed; None where all are as they were made."""
    for name in dict.fromkeys([*needed, *digests]):
        path = inside(folder, name)
        if not path.is_file() or sha256_file(path) != digests.get(name):
            return name
    return None


def move(source: Path, target: Path | None, files: Iterable[str]) -> None:
    """Move files that are there to another folder, or remove them; a part that was done before is left as it is.

    Raises:
        UserError: something else lies in the way, or a link is on the way.
    """
    for name in files:
        path = inside(source, name)
        if not os.path.lexists(path):
            continue
        if target is None:
            path.unlink()
            continue
        goal = inside(target, name)
        goal.parent.mkdir(parents=True, exist_ok=True)
        if os.path.lexists(goal):
            raise UserError(f"{goal} is in the way of earlier results: move it elsewhere")
        path.rename(goal)
    for folder in (source, target):
        if folder is not None and folder.is_dir():
            sync_folder(folder)
    _remove_empty(source)


def _remove_empty(folder: Path) -> None:
    for each in (folder / ".tuning", folder):
        try:
            each.rmdir()
        except OSError:  # it is not empty, or not there
            continue


def _files(folder: Path) -> list[str]:
    """Regular files of a folder and of the hidden one of an export; its other folders are stages of their own."""
    found: list[str] = []
    for place, prefix in ((folder, ""), (folder / ".tuning", ".tuning/")):
        if place.is_dir() and not place.is_symlink():
            found += [prefix + path.name for path in place.iterdir() if path.is_file() and not path.is_symlink()]
    return sorted(found)
