"""Is a folder one of fairnas's, and does everything in it lie in it?"""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Iterator
from pathlib import Path

from ...common.files import is_temporary
from ...common.lock import is_holder
from ...common.names import UnsafeNameError, inside, safe_name
from ...common.text import plain
from ..errors import UserError
from .lock import LOCK, read_holder
from .manifest import MANIFEST, PREVIOUS, read_manifest, stage_name
from .stage_names import STAGES

CONFIG = "config.yaml"
KEY_FILE = ".key"  # of a stage that is under way
_NOBODYS = {".DS_Store", "Thumbs.db", "lost+found", ".gitkeep", ".gitignore"}  # what systems put into empty folders


def default_run(target: str, preset: str) -> Path:
    """Where a run lies that is given no folder.

    Raises:
        UnsafeNameError: the preset's name is none of a folder.
    """
    return Path("runs") / safe_name(f"{target}-{preset}", "a run folder: give one with --run")


def require_ours(folder: Path) -> None:
    """Refuse to work in a folder that holds anything but a run.

    Raises:
        UserError: it was not made by fairnas and is not empty, its manifest is damaged, or it holds a link.
    """
    refuse_links(folder, STAGES)
    if not folder.is_dir():
        return
    if (folder / MANIFEST).exists():
        refuse_links(folder, read_manifest(folder)["stages"])
        return
    others = sorted(path.name for path in folder.iterdir() if not _is_left_by_the_first_moments(path))
    if others and not _is_unfinished_run_of_an_earlier_version(folder):
        named = plain(", ".join(others[:3])) + (", ..." if len(others) > 3 else "")
        raise UserError(
            f"{plain(str(folder))} was not made by fairnas and is not empty ({named}): name a new folder with --run"
        )


def refuse_links(folder: Path, stages: Iterable[str]) -> None:
    """What a link leads to would be read, replaced or removed as if it were the run's.

    Raises:
        UserError: one of the run's files, or something in a stage's folder, is a link.
    """
    for path in links(folder, stages):
        raise UserError(f"{plain(str(path))} is a link, and might lead out of the run folder: remove it")


def links(folder: Path, stages: Iterable[str]) -> Iterator[Path]:
    """Links in the place of the run's files, and all links in folders of stages."""
    kinds = dict.fromkeys(stage.split("/")[0] for stage in stages)
    for name in (MANIFEST, CONFIG, LOCK, *kinds, *(kind + PREVIOUS for kind in kinds)):
        for path in (folder / name, *_below(folder / name)):
            if path.is_symlink():
                yield path


def stage_folders(folder: Path, finished: Iterable[str]) -> list[str]:
    """Names of stages that finished, and of those that are under way."""
    keys = [path.parent for path in _keys(folder)]
    under_way = [str(place.relative_to(folder)) for place in keys if _may_be_a_stage(place, folder)]
    return list(dict.fromkeys([*finished, *sorted(under_way)]))


def remove_half_written(folder: Path, stages: Iterable[str]) -> None:
    """Remove temporary files that a killed run left, in its own folders only."""
    # One that was killed when it had only just begun is known by its folder's name alone.
    begun = [path for kind in STAGES for path in (folder / kind, *(folder / kind).glob("*/")) if path.is_dir()]
    places = [folder, *dict.fromkeys([*(folder / stage for stage in stages), *begun])]
    places += [place / ".tuning" for place in places[1:]]
    for place in places:
        for path in list(place.iterdir()) if place.is_dir() and not place.is_symlink() else ():
            if is_temporary(path) and (place != folder or path.name.startswith((f".{MANIFEST}.", f".{CONFIG}."))):
                path.unlink()


def _keys(folder: Path) -> list[Path]:
    return [*folder.glob(f"*/{KEY_FILE}"), *folder.glob(f"*/*/{KEY_FILE}")]


def _may_be_a_stage(place: Path, folder: Path) -> bool:
    name = str(place.relative_to(folder))
    try:
        stage_name(name)
        inside(folder, name)
    except UnsafeNameError:
        return False
    return True


def _below(folder: Path) -> Iterator[Path]:
    if folder.is_symlink():
        return
    for parent, folders, files in os.walk(folder, followlinks=False):
        for name in (*folders, *files):
            yield Path(parent) / name


def _is_left_by_the_first_moments(path: Path) -> bool:
    """What a run that was killed before it had a manifest leaves; and what is nobody's."""
    if path.name == LOCK:
        return path.is_file() and is_holder(read_holder(path.parent).encode())
    half_written = is_temporary(path) and path.name.startswith((f".{MANIFEST}.", f".{CONFIG}."))
    return path.name in _NOBODYS or half_written


def _is_unfinished_run_of_an_earlier_version(folder: Path) -> bool:
    """Those wrote the manifest when their first stage was finished."""
    keys = [path for path in _keys(folder) if path.relative_to(folder).parts[0] in STAGES and path.is_file()]
    return (
        (folder / CONFIG).is_file()
        and read_holder(folder).startswith("process ")
        and any(re.fullmatch(r"[0-9a-f]{64}", path.read_text(errors="replace")) for path in keys)
    )
