"""Class folders: `train/<class>/*` and `val/<class>/*`, checked before anything else happens."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import torch
from timm.data.constants import IMAGENET_DEFAULT_MEAN, IMAGENET_DEFAULT_STD
from torch import Tensor
from torchvision.datasets.folder import IMG_EXTENSIONS

from ..errors import UserError
from . import cache
from .decode import check_files, decode_files, usual_side
from .images import FileImages, ImageFormat, ImageSet, MemoryImages

IN_MEMORY_BYTES = 2 * 2**30  # decoded sets up to this size are kept in memory
MAX_SIDE = 256  # larger images are decoded at this size, the usual one before a crop of 224
CACHE_FORMAT = "1"  # part of every cache key: change it when decoding changes


class File(NamedTuple):
    """An image file: its name relative to the data set's folder, and what tells whether it has changed."""

    name: str
    size: int
    modified_ns: int


@dataclass(frozen=True)
class Listing:
    """The image files of one split, sorted by class and name."""

    files: list[File]
    labels: Tensor


@dataclass(frozen=True)
class Folder:
    """A class folder whose structure is in order; its images have not been looked at."""

    root: Path
    classes: list[str]
    train: Listing
    val: Listing


def list_folder(root: Path) -> Folder:
    """Find classes and files.

    Raises:
        UserError: the structure is not `train/<class>/*` and `val/<class>/*` with the same classes in both, at least
            two of them, none empty.
    """
    try:
        return _list_folder(root)
    except OSError as error:
        raise UserError(f"cannot read {error.filename or root}: {error.strerror or error}") from error


def load_folder(folder: Folder, *, use_cache: bool) -> tuple[ImageSet, ImageSet, str]:
    """Check every image, and decode them all when they fit into memory.

    Returns:
        Training images, validation images, digest.

    Raises:
        UserError: an image is broken.
    """
    files = folder.train.files + folder.val.files
    key = hashlib.sha256(f"{CACHE_FORMAT} {IN_MEMORY_BYTES} {MAX_SIDE} {files}".encode()).hexdigest()
    cached = cache.fetch(key) if use_cache else None
    if cached is None:
        cached = _read(folder.root, files)
        if use_cache:
            cache.store(key, *cached)
    tensors, metadata = cached
    image_format = ImageFormat(int(metadata["side"]), IMAGENET_DEFAULT_MEAN, IMAGENET_DEFAULT_STD)
    count = len(folder.train.files)
    if "pixels" not in tensors:
        paths = _paths(folder.root, files)
        train = FileImages(paths[:count], folder.train.labels, image_format)
        val = FileImages(paths[count:], folder.val.labels, image_format)
        return train, val, metadata["digest"]
    pixels = tensors["pixels"].permute(0, 3, 1, 2)
    train = MemoryImages(pixels[:count], folder.train.labels, image_format)
    val = MemoryImages(pixels[count:], folder.val.labels, image_format)
    return train, val, metadata["digest"]


def _read(root: Path, files: list[File]) -> tuple[dict[str, Tensor], dict[str, str]]:
    """Everything that the cache keeps: pixels `[N, side, side, 3]` of a small set, and its digest and side."""
    paths = _paths(root, files)
    side = min(usual_side(paths), MAX_SIDE)
    if len(files) * 3 * side * side > IN_MEMORY_BYTES:
        check_files(paths)
        tensors, contents = {}, [str(file.size) for file in files]
    else:
        pixels, contents = decode_files(paths, side)
        tensors = {"pixels": torch.from_numpy(pixels)}
    digest = hashlib.sha256()
    for file, content in zip(files, contents, strict=True):
        digest.update(f"{file.name}\0{content}\n".encode())
    return tensors, {"digest": digest.hexdigest(), "side": str(side)}


def _paths(root: Path, files: list[File]) -> list[str]:
    return [f"{root}/{file.name}" for file in files]  # a Path for each of a million files would take many seconds


def _list_folder(root: Path) -> Folder:
    if not root.exists():
        raise UserError(f"no such folder: {root}; give a folder that holds train/ and val/")
    if not root.is_dir():
        raise UserError(f"{root} is a file; give a folder that holds train/ and val/")
    for split in ("train", "val"):
        if not (root / split).is_dir():
            found = ", ".join(_folders(root)) or "none"
            raise UserError(f"no {split}/ in {root} (folders found: {found}); it takes train/<class>/ and val/<class>/")
    if (root / "train").samefile(root / "val"):
        raise UserError(f"train/ and val/ in {root} are one folder; validate on images that are not trained on")
    classes, val_classes = _folders(root / "train"), _folders(root / "val")
    for split, names, others in (("val", val_classes, classes), ("train", classes, val_classes)):
        missing = [name for name in others if name not in set(names)]
        if missing:
            more = f" ({len(missing) - 1} more are missing too)" if len(missing) > 1 else ""
            raise UserError(f"class {missing[0]} is missing: there is no {root / split / missing[0]}; add images{more}")
    if len(classes) < 2:
        raise UserError(f"{root / 'train'} holds {len(classes)} class folders; at least 2 are needed")
    return Folder(root, classes, _list_split(root, "train", classes), _list_split(root, "val", classes))


def _list_split(root: Path, split: str, classes: list[str]) -> Listing:
    files: list[File] = []
    labels: list[int] = []
    for label, name in enumerate(classes):
        found = sorted(_image_files(root / split / name, f"{split}/{name}"))
        if not found:
            raise UserError(
                f"class {name} is empty: no images in {root / split / name}; add images or remove the class"
            )
        files += found
        labels += [label] * len(found)
    return Listing(files, torch.tensor(labels, dtype=torch.int64))


def _folders(parent: Path) -> list[str]:
    with os.scandir(parent) as entries:
        return sorted(entry.name for entry in entries if entry.is_dir() and not entry.name.startswith("."))


def _image_files(folder: Path, name: str) -> Iterator[File]:
    """Image files at any depth, hidden ones left out (macOS keeps `._name.jpg` beside `name.jpg`)."""
    with os.scandir(folder) as entries:
        for entry in entries:
            if entry.name.startswith("."):
                continue
            if entry.is_dir():
                yield from _image_files(folder / entry.name, f"{name}/{entry.name}")
            elif entry.name.lower().endswith(IMG_EXTENSIONS):
                stat = entry.stat()
                yield File(f"{name}/{entry.name}", stat.st_size, stat.st_mtime_ns)
