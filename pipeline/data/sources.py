"""Where images come from: a folder of the user's, a well-known set, or the digits that need no download."""

from __future__ import annotations

import hashlib
import os
import shutil
import socket
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torchvision import datasets

from ...common.places import cache_root, expanded
from ...common.text import plain
from ..errors import UserError
from ..image_names import no_such_images
from .folder import load_folder
from .images import Channels, Dataset, ImageFormat, ImageSet, MemoryImages
from .listing import list_folder
from .split import hold_out

DOWNLOAD_TIMEOUT_S = 30


@dataclass(frozen=True)
class _Source:
    name: str
    classes: list[str]
    train: ImageSet
    val: ImageSet
    digest: str
    notes: Sequence[str] = ()
    demonstration: bool = False


def load_dataset(
    source: str, *, heldout: float, seed: int, train_images: int | None = None, cache: bool = True
) -> Dataset:
    """Find, check and read a data set. Until all checks have passed, nothing is written.

    Args:
        source: a folder with `train/<class>/*` and `val/<class>/*`, or one of `NAMED_SOURCES`.
        heldout: part of the training images to hold out for scoring paths, within 0..1.
        seed: of the held-out split.
        train_images: how many of the images that are not held out to train on; None for all.
        cache: whether decoded images of a folder are kept in the user's cache, and taken from there.

    Raises:
        UserError: there is no such source, or something is wrong with it; one line that names the culprit.
    """
    if source in NAMED_SOURCES:
        found = NAMED_SOURCES[source](cache)
    elif expanded(source).exists():
        folder = list_folder(expanded(source))
        hold_out(folder.train.labels, folder.classes, heldout, seed)  # complain before thousands of images are read
        found = _Source(plain(folder.root.resolve().name), folder.classes, *load_folder(folder, use_cache=cache))
    else:
        raise no_such_images(source)
    train, held = hold_out(found.train.labels, found.classes, heldout, seed)
    if train_images is not None and train_images < len(train):
        _, chosen = hold_out(found.train.labels[train], found.classes, train_images / len(train), seed)
        train = train[chosen]
    # Folders are read class by class; a batch of held-out images must not be one class, whose statistics are its own.
    held = held[torch.randperm(len(held), generator=torch.Generator().manual_seed(seed))]
    return Dataset(
        name=found.name,
        classes=found.classes,
        full_train=found.train,
        train=found.train.subset(train),
        heldout=found.train.subset(held),
        val=found.val,
        digest=found.digest,
        demonstration=found.demonstration,
        notes=tuple(found.notes),
    )


def data_root() -> Path:
    """Where well-known sets are looked for and downloaded to: `$FAIRNAS_DATA`, or a folder in the user's cache."""
    return expanded(os.environ.get("FAIRNAS_DATA") or cache_root() / "data")


def _digits(_: bool) -> _Source:
    """1,797 handwritten digits of 8x8 pixels that come inside scikit-learn; a fifth of each class is for validation."""
    from sklearn.datasets import load_digits

    digits: Any = load_digits()
    grey = np.rint(digits.images * (255 / 16)).astype(np.uint8)  # 0..16 in the original
    pixels = np.repeat(grey[..., None], 3, axis=-1)
    labels = torch.from_numpy(digits.target.astype(np.int64))
    classes = [str(name) for name in digits.target_names]
    train, val = (indices.numpy() for indices in hold_out(labels, classes, fraction=0.2, seed=0))
    splits = [(pixels[train], labels[train]), (pixels[val], labels[val])]
    return _in_memory("digits", classes, *splits, demonstration=True)


def _cifar10(_: bool) -> _Source:
    return _cifar("cifar10", datasets.CIFAR10)


def _cifar100(_: bool) -> _Source:
    return _cifar("cifar100", datasets.CIFAR100)


def _cifar(name: str, kind: type[datasets.CIFAR10]) -> _Source:
    root = data_root()
    if not (root / kind.base_folder).exists():
        _download(name, kind, root)
    try:
        train, val = kind(str(root), train=True), kind(str(root), train=False)
    except Exception as error:  # a damaged pickle raises nearly anything
        raise UserError(
            f"{name} in {root / kind.base_folder} is damaged ({error}); remove it to download again"
        ) from error
    splits = [(split.data, torch.tensor(split.targets, dtype=torch.int64)) for split in (train, val)]
    return _in_memory(name, train.classes, *splits)


def _download(name: str, kind: type[datasets.CIFAR10], root: Path) -> None:
    """Download beside everything else and move into place, so that a failure leaves nothing half-done."""
    timeout = socket.getdefaulttimeout()
    socket.setdefaulttimeout(DOWNLOAD_TIMEOUT_S)
    try:
        with tempfile.TemporaryDirectory() as scratch:
            kind(scratch, download=True)
            root.mkdir(parents=True, exist_ok=True)
            shutil.move(Path(scratch) / kind.base_folder, root / kind.base_folder)
    except (OSError, RuntimeError) as error:
        reason = " ".join(str(error).split())
        raise UserError(
            f"cannot download {name} ({reason}); put its {kind.base_folder}/ into {root}, "
            "set FAIRNAS_DATA to where it is, or give a folder with train/ and val/"
        ) from error
    finally:
        socket.setdefaulttimeout(timeout)


def _imagenet(use_cache: bool) -> _Source:
    """ImageNet as torchvision keeps it: class folders, unpacked from the archives when those are there instead."""
    root = data_root() / "imagenet"
    if not ((root / "train").is_dir() and (root / "val").is_dir()):
        try:
            for split in ("train", "val"):
                datasets.ImageNet(str(root), split=split)
        except (OSError, RuntimeError) as error:
            raise UserError(
                f"no ImageNet in {root}: it cannot be downloaded without an account; put train/ and val/ class folders "
                "or the three ILSVRC2012 archives there (FAIRNAS_DATA sets the parent folder)"
            ) from error
    folder = list_folder(root)
    return _Source("imagenet", folder.classes, *load_folder(folder, use_cache=use_cache))


def _in_memory(
    name: str,
    classes: list[str],
    train: tuple[NDArray[np.uint8], Tensor],
    val: tuple[NDArray[np.uint8], Tensor],
    *,
    demonstration: bool = False,
) -> _Source:
    """A source from pixels `[N, side, side, 3]` and labels; the training images give the normalisation."""
    digest = hashlib.sha256("\0".join(classes).encode())
    for pixels, labels in (train, val):
        digest.update(np.ascontiguousarray(pixels).data)
        digest.update(labels.numpy().data)
    image_format = ImageFormat(train[0].shape[1], *_mean_std(train[0]))
    sets = [
        MemoryImages(torch.from_numpy(pixels).permute(0, 3, 1, 2), labels, image_format)
        for pixels, labels in (train, val)
    ]
    return _Source(name, list(classes), *sets, digest=digest.hexdigest(), demonstration=demonstration)


def _mean_std(pixels: NDArray[np.uint8]) -> tuple[Channels, Channels]:
    """Mean and standard deviation per channel of pixels in 0..1, to 4 digits; exact, as it counts grey levels."""
    levels = np.arange(256) / 255
    means: list[float] = []
    stds: list[float] = []
    for channel in range(3):
        counts = np.bincount(pixels[..., channel].ravel(), minlength=256)
        mean = np.average(levels, weights=counts)
        means.append(round(float(mean), 4))
        stds.append(round(float(np.sqrt(np.average((levels - mean) ** 2, weights=counts))), 4))
    return (means[0], means[1], means[2]), (stds[0], stds[1], stds[2])


NAMED_SOURCES: dict[str, Callable[[bool], _Source]] = {
    "digits": _digits,
    "cifar10": _cifar10,
    "cifar100": _cifar100,
    "imagenet": _imagenet,
}
