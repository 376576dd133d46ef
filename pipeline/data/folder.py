"""Class folders: `train/<class>/*` and `val/<class>/*`, checked before anything else happens."""

from __future__ import annotations

import hashlib
import json
import os
import time

import torch
from timm.data.constants import IMAGENET_DEFAULT_MEAN, IMAGENET_DEFAULT_STD
from torch import Tensor

from . import cache
from .decode import check_files, decode_files, usual_side
from .images import FileImages, ImageFormat, ImageSet, MemoryImages
from .listing import File, Folder
from .overlap import overlaps

IN_MEMORY_BYTES = 2 * 2**30  # decoded sets up to this size are kept in memory
MAX_SIDE = 256  # larger images are decoded at this size, the usual one before a crop of 224
CACHE_FORMAT = "2"  # part of every cache key: change it when decoding changes
COARSE_NS = 2 * 10**9  # how far apart two changes may be, on some file systems, and still carry the same time
FINE_NS = 2 * 10**7  # the same where times are finer than a second


def load_folder(folder: Folder, *, use_cache: bool) -> tuple[ImageSet, ImageSet, str, list[str]]:
    """Check every image, and decode them all when they fit into memory.

    Whether files are those that the cache was made of is judged by all that the system says of them, the time of
    change included, which no copying tool sets. Their contents are read once, when they are new.

    Returns:
        Training images, validation images, digest, and what the user should know, one line each.

    Raises:
        UserError: an image is broken, or all validation images are also training images.
    """
    files = folder.train.files + folder.val.files
    facts = f"{CACHE_FORMAT} {IN_MEMORY_BYTES} {MAX_SIDE} {os.path.realpath(folder.root)!a} {files}"
    key = hashlib.sha256(facts.encode()).hexdigest()
    notes = list(folder.notes)
    cached = None
    if use_cache:
        cache.tidy()
        try:
            cached = cache.fetch(key)
        except cache.DamagedCache:
            notes.append("the cache of decoded images is damaged: they were decoded anew")
    if cached is None:
        _let_time_pass(files)
        cached = _read(folder)
        if use_cache:
            cache.store(key, *cached)
    tensors, metadata = cached
    notes += json.loads(metadata["notes"])
    image_format = ImageFormat(int(metadata["side"]), IMAGENET_DEFAULT_MEAN, IMAGENET_DEFAULT_STD)
    count = len(folder.train.files)
    if "pixels" not in tensors:
        paths = _paths(folder)
        train = FileImages(paths[:count], folder.train.labels, image_format)
        val = FileImages(paths[count:], folder.val.labels, image_format)
        return train, val, metadata["digest"], notes
    pixels = tensors["pixels"].permute(0, 3, 1, 2)
    train = MemoryImages(pixels[:count], folder.train.labels, image_format)
    val = MemoryImages(pixels[count:], folder.val.labels, image_format)
    return train, val, metadata["digest"], notes


def _let_time_pass(files: list[File]) -> None:
    """Wait until a further change of the newest file would carry another time: a tick of its clock at most."""
    newest = max(file.changed_ns for file in files)
    tick = FINE_NS if newest % 10**9 else COARSE_NS
    left = newest + tick - time.time_ns()
    if 0 < left <= tick:
        time.sleep(left / 1e9)


def _read(folder: Folder) -> tuple[dict[str, Tensor], dict[str, str]]:
    """Everything that the cache keeps: pixels `[N, side, side, 3]` of a small set, its digest, side and notes."""
    names = [file.name for file in folder.train.files + folder.val.files]
    paths = _paths(folder)
    side = min(usual_side(paths), MAX_SIDE)
    if len(names) * 3 * side * side > IN_MEMORY_BYTES:
        tensors, contents = {}, check_files(paths)
    else:
        pixels, contents = decode_files(paths, side)
        tensors = {"pixels": torch.from_numpy(pixels)}
    notes = overlaps(names, contents, folder.train.labels, len(folder.train.files))
    digest = hashlib.sha256()
    for name, content in zip(names, contents, strict=True):
        digest.update(os.fsencode(f"{name}\0{content}\n"))
    return tensors, {"digest": digest.hexdigest(), "side": str(side), "notes": json.dumps(notes)}


def _paths(folder: Folder) -> list[str]:
    # A Path for each of a million files would take many seconds.
    return [f"{folder.root}/{file.name}" for file in folder.train.files + folder.val.files]
