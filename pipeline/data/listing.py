"""The files of class folders: `train/<class>/*` and `val/<class>/*`, found, counted, none of them opened."""

from __future__ import annotations

import os
import stat
import unicodedata
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import torch
from torch import Tensor

from ...common.text import plain
from ..errors import UserError
from .kinds import SUFFIXES

_DEEPEST = 64  # folders inside one another below a class
_KINDS_TOLD = 8


class File(NamedTuple):
    """An image file: its name relative to the data set's folder, and what tells whether it has changed.

    Size and time of modification alone would not: copying tools set the time. No tool sets the time of change.
    """

    name: str
    size: int
    modified_ns: int
    changed_ns: int
    inode: int
    device: int


@dataclass(frozen=True)
class Listing:
    """The image files of one split, sorted by class and name."""

    files: list[File]
    labels: Tensor


@dataclass(frozen=True)
class Folder:
    """A class folder whose structure is in order; its images have not been looked at.

    Attributes:
        root: the folder.
        classes: names of the class folders, as they are.
        train: images to train on.
        val: images to validate on.
        notes: what the user should know, one line each.
    """

    root: Path
    classes: list[str]
    train: Listing
    val: Listing
    notes: list[str]


def list_folder(root: Path) -> Folder:
    """Find classes and files.

    Raises:
        UserError: the structure is not `train/<class>/*` and `val/<class>/*` with the same classes in both, at least
            two of them, none empty.
    """
    try:
        return _list_folder(root)
    except OSError as error:
        raise UserError(f"cannot read {plain(str(error.filename or root))}: {error.strerror or error}") from error


def _list_folder(root: Path) -> Folder:
    said = plain(str(root))
    if not root.exists():
        raise UserError(f"no such folder: {said}; give a folder that holds train/ and val/")
    if not root.is_dir():
        raise UserError(f"{said} is a file; give a folder that holds train/ and val/")
    for split in ("train", "val"):
        if not (root / split).is_dir():
            found = plain(", ".join(_class_folders(root, Counter()))) or "none"
            raise UserError(f"no {split}/ in {said} (folders found: {found}); it takes train/<class>/ and val/<class>/")
    if (root / "train").samefile(root / "val"):
        raise UserError(f"train/ and val/ in {said} are one folder; validate on images that are not trained on")
    ignored: Counter[str] = Counter()
    classes, val_classes = (_class_folders(root / split, ignored) for split in ("train", "val"))
    for split, names, others in (("val", val_classes, classes), ("train", classes, val_classes)):
        _complain_of_missing(root / split, names, others)
    if len(classes) < 2:
        raise UserError(f"{said}/train holds {len(classes)} class folders; at least 2 are needed")
    notes = _notes_on_names(classes)
    splits = [_list_split(root, split, classes, ignored) for split in ("train", "val")]
    if ignored:
        notes.append(f"ignored: {_told(ignored)}")
    return Folder(root, classes, splits[0], splits[1], notes)


def _complain_of_missing(folder: Path, names: list[str], others: list[str]) -> None:
    there = set(names)
    missing = [name for name in others if name not in there]
    if not missing:
        return
    more = f" ({len(missing) - 1} more are missing too)" if len(missing) > 1 else ""
    alike = {_alike(name): name for name in names}.get(_alike(missing[0]))
    hint = "add images" if alike is None else f"rename {plain(alike)}, which differs in case or Unicode form only"
    raise UserError(
        f"class {plain(missing[0])} is missing: there is no {plain(str(folder / missing[0]))}; {hint}{more}"
    )


def _notes_on_names(classes: list[str]) -> list[str]:
    """What is odd about the names.

    Raises:
        UserError: one is not UTF-8, or two look the same: labels could not be written, or told apart.
    """
    seen: dict[str, str] = {}
    cases: dict[str, str] = {}
    notes: list[str] = []
    for name in classes:
        try:
            name.encode()
        except UnicodeEncodeError:
            raise UserError(f"the class folder {plain(name)} has a name that is not UTF-8; rename it") from None
        if (other := seen.setdefault(unicodedata.normalize("NFC", name), name)) != name:
            raise UserError(
                f"two class folders look the same, {plain(name)}: their names differ in Unicode form only "
                f"({other.encode()!r} and {name.encode()!r}); put their images into one"
            )
        if (other := cases.setdefault(_alike(name), name)) != name and not notes:
            notes.append(f"classes {plain(other)} and {plain(name)} differ in upper and lower case only")
    return notes


def _alike(name: str) -> str:
    return unicodedata.normalize("NFC", name).casefold()


def _list_split(root: Path, split: str, classes: list[str], ignored: Counter[str]) -> Listing:
    files: list[File] = []
    labels: list[int] = []
    for label, name in enumerate(classes):
        skipped: Counter[str] = Counter()
        found = sorted(_image_files(root / split / name, f"{split}/{name}", skipped, ()))
        if not found:
            also = f" (ignored: {_told(skipped)})" if skipped else ""
            where = plain(str(root / split / name))
            raise UserError(f"class {plain(name)} is empty: no images in {where}; add images or remove the class{also}")
        files += found
        labels += [label] * len(found)
        ignored += skipped
    return Listing(files, torch.tensor(labels, dtype=torch.int64))


def _class_folders(parent: Path, ignored: Counter[str]) -> list[str]:
    names: list[str] = []
    with os.scandir(parent) as entries:
        for entry in entries:
            facts = _facts(entry)
            if facts is not None and stat.S_ISDIR(facts.st_mode):
                if entry.name.startswith("."):
                    ignored["hidden folders"] += 1
                else:
                    names.append(entry.name)
            elif _is_image(entry.name):
                ignored["outside of class folders"] += 1
    return sorted(names)


def _image_files(folder: Path, name: str, ignored: Counter[str], above: tuple[tuple[int, int], ...]) -> Iterator[File]:
    """Image files at any depth, hidden ones left out (macOS keeps `._name.jpg` beside `name.jpg`).

    `above` are the folders that this one lies in, so that links in a circle are followed once.
    """
    here = folder.stat()
    if (here.st_dev, here.st_ino) in above:
        ignored["links in a circle"] += 1
        return
    if len(above) > _DEEPEST:
        raise UserError(f"{plain(str(folder))[:200]} lies in more than {_DEEPEST} folders; put its images higher up")
    above = (*above, (here.st_dev, here.st_ino))
    with os.scandir(folder) as entries:
        for entry in entries:
            facts = _facts(entry)
            if facts is not None and stat.S_ISDIR(facts.st_mode):
                if entry.name.startswith("."):
                    ignored["hidden folders"] += 1
                else:
                    yield from _image_files(folder / entry.name, f"{name}/{entry.name}", ignored, above)
            elif entry.name.startswith("."):
                ignored["hidden"] += _is_image(entry.name)  # .DS_Store and its like are nobody's images
            elif facts is None:
                ignored["links that lead nowhere"] += 1
            elif not stat.S_ISREG(facts.st_mode):
                ignored["no regular files"] += 1
            elif not _is_image(entry.name):
                ignored[_suffix(entry.name)] += 1
            else:
                yield File(
                    f"{name}/{entry.name}",
                    facts.st_size,
                    facts.st_mtime_ns,
                    facts.st_ctime_ns,
                    facts.st_ino,
                    facts.st_dev,
                )


def _facts(entry: os.DirEntry[str]) -> os.stat_result | None:
    """What a name stands for, through links; None for a link that leads nowhere, or in a circle."""
    try:
        return entry.stat()
    except OSError:
        if entry.is_symlink():
            return None
        raise


def _is_image(name: str) -> bool:
    return name.lower().endswith(SUFFIXES)


def _suffix(name: str) -> str:
    suffix = Path(name).suffix.lower()
    return plain(suffix) if 1 < len(suffix) <= 12 else "without a suffix"


def _told(ignored: Counter[str]) -> str:
    kinds = [f"{count:,} {kind}" for kind, count in ignored.most_common() if count]
    more = [f"{len(kinds) - _KINDS_TOLD} more kinds"] if len(kinds) > _KINDS_TOLD else []
    return ", ".join(kinds[:_KINDS_TOLD] + more)
