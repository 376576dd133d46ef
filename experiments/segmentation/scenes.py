"""Pictures with a class for every pixel, from folders such as CamVid's, and what training does to them."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from timm.data.constants import IMAGENET_DEFAULT_MEAN, IMAGENET_DEFAULT_STD
from torch import Tensor
from torchvision import tv_tensors
from torchvision.transforms import v2

from ...pipeline.errors import UserError

IGNORED = 255
"""Label of pixels that belong to no class: they neither train nor count."""

VOID_NAMES = ("unlabelled", "void")
SPLITS = ("train", "val", "test")


@dataclass(frozen=True)
class Scenes:
    """One split.

    Attributes:
        pixels: RGB, uint8 `[N, 3, H, W]`.
        labels: class of every pixel or `IGNORED`, uint8 `[N, H, W]`.
    """

    pixels: Tensor
    labels: Tensor

    def __len__(self) -> int:
        return len(self.labels)

    def first(self, count: int) -> Scenes:
        """At most `count` of them."""
        return Scenes(self.pixels[:count], self.labels[:count])


@dataclass(frozen=True)
class SceneSet:
    """All splits.

    Attributes:
        classes: names in the order of labels.
        digest: of all pixels and labels.
    """

    classes: tuple[str, ...]
    train: Scenes
    val: Scenes
    test: Scenes
    digest: str


def load_scenes(folder: Path) -> SceneSet:
    """Read `classes.txt` and, for each split, `SPLIT/NAME.jpg` or `.png` with `SPLITannot/NAME.png` (class numbers).

    A class called Unlabelled or Void, and every number without a name, is ignored.

    Raises:
        UserError: a file is missing, or pictures differ in size.
    """
    try:
        names = [line.strip() for line in (folder / "classes.txt").read_text().splitlines() if line.strip()]
        void = [index for index, name in enumerate(names) if name.lower() in VOID_NAMES]
        if void not in ([], [len(names) - 1]):
            raise UserError(f"{folder / 'classes.txt'}: the class without a name must be the last")
        classes = tuple(names[: len(names) - len(void)])
        splits = {split: _load_split(folder, split, len(classes)) for split in SPLITS}
    except OSError as error:
        raise UserError(f"{error.filename or folder} is no scene that can be read: {error.strerror or error}") from None
    digest = hashlib.sha256(repr(names).encode())
    for scenes in splits.values():
        digest.update(scenes.pixels.numpy().tobytes() + scenes.labels.numpy().tobytes())
    return SceneSet(classes, **splits, digest=digest.hexdigest())


def _load_split(folder: Path, split: str, classes: int) -> Scenes:
    pixels: list[np.ndarray] = []
    labels: list[np.ndarray] = []
    paths = sorted(path for path in (folder / split).glob("*") if path.suffix in (".jpg", ".png"))
    if not paths:
        raise UserError(f"{folder / split} holds no pictures")
    for path in paths:
        with Image.open(path) as picture, Image.open(folder / f"{split}annot" / f"{path.stem}.png") as annotation:
            pixels.append(np.asarray(picture.convert("RGB")))
            labels.append(np.asarray(annotation))
        if labels[-1].dtype != np.uint8:
            raise UserError(f"the annotation of {path} has no numbers of 8 bits")
        if pixels[-1].shape != pixels[0].shape or labels[-1].shape != pixels[0].shape[:2]:
            raise UserError(f"{path} or its annotation has another size than {paths[0]}, or is in colours")
    numbers = torch.from_numpy(np.stack(labels))
    numbers = numbers.where(numbers < classes, torch.tensor(IGNORED, dtype=torch.uint8))
    return Scenes(torch.from_numpy(np.stack(pixels)).permute(0, 3, 1, 2).contiguous(), numbers)


def normalised(pixels: Tensor) -> Tensor:
    """Float32 in channels_last, normalised as networks trained on ImageNet expect."""
    floats = v2.functional.normalize(
        v2.functional.to_dtype(pixels, torch.float32, scale=True),
        list(IMAGENET_DEFAULT_MEAN),
        list(IMAGENET_DEFAULT_STD),
    )
    return floats.contiguous(memory_format=torch.channels_last)


def augmentation(crop: int, smallest_part: float) -> Callable[..., tuple[Tensor, Tensor]]:
    """A random part of a picture, as a square of `crop` pixels, mirrored half the time, in other light.

    Args:
        crop: height and width, in pixels.
        smallest_part: of the picture's area.
    """
    return v2.Compose(
        [
            v2.RandomResizedCrop(crop, scale=(smallest_part, 1.0), antialias=True),
            v2.RandomHorizontalFlip(),
            v2.ColorJitter(brightness=0.3, contrast=0.3, saturation=0.3),
        ]
    )


def train_batches(
    scenes: Scenes, batch_size: int, transform: Callable[..., tuple[Tensor, Tensor]]
) -> Iterator[tuple[Tensor, Tensor]]:
    """One shuffled epoch of full batches: normalised images `[B, 3, crop, crop]`, labels int64 `[B, crop, crop]`.

    Draws from PyTorch's global generator, as the transform does.
    """
    order = torch.randperm(len(scenes))
    for chosen in order[: len(order) // batch_size * batch_size].split(batch_size):
        pairs = [
            transform(tv_tensors.Image(scenes.pixels[index]), tv_tensors.Mask(scenes.labels[index])) for index in chosen
        ]
        images, labels = (
            torch.stack([part.as_subclass(Tensor) for part in parts]) for parts in zip(*pairs, strict=True)
        )
        yield normalised(images), labels.long()


def eval_batches(scenes: Scenes, batch_size: int) -> Iterator[tuple[Tensor, Tensor]]:
    """Whole pictures in order: normalised images `[B, 3, H, W]`, labels int64 `[B, H, W]`."""
    for pixels, labels in zip(scenes.pixels.split(batch_size), scenes.labels.split(batch_size), strict=True):
        yield normalised(pixels), labels.long()
