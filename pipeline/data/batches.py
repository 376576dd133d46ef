"""Batches for training and evaluation, each a function of its arguments alone.

The order of an epoch comes from (seed, epoch) and the augmentation of a batch from (seed, epoch, batch index), so a
run that resumes at batch k sees what an unbroken run would have seen, with any number of worker processes.
"""

from __future__ import annotations

import hashlib
import math
import os
from collections.abc import Iterator

import torch
from torch import Tensor
from torch.nn import functional
from torch.utils.data import DataLoader

from ..distributed import on_this_machine
from ..errors import UserError
from .images import ImageFormat, ImageSet, MemoryImages
from .per_image import Pictures
from .settings import Augment

RATIO = (3 / 4, 4 / 3)  # aspect ratios of random crops, torchvision's default

Batch = tuple[Tensor, Tensor]


def batches_per_epoch(count: int, batch_size: int) -> int:
    """How many batches `train_batches` yields for `count` images: the rest that fills no batch is left out."""
    return max(1, count // batch_size)


def train_batches(
    images: ImageSet,
    *,
    batch_size: int,
    resolution: int,
    augment: Augment,
    seed: int,
    epoch: int,
    start: int = 0,
    part: tuple[int, int] = (0, 1),
    workers: int | None = None,
) -> Iterator[Batch]:
    """One shuffled epoch of augmented batches.

    All batches are full, so that batch norm never sees a lone image; a set smaller than a batch is one batch.

    Args:
        images: at least 2 images.
        batch_size: at least 2.
        resolution: height and width of the batches, in pixels.
        augment: what is done to each image.
        seed: of the run.
        epoch: from 0; every epoch has its own order and augmentation.
        start: the first batch to yield; those before it cost nothing.
        part: which part of each batch to yield, and of how many; the parts together are the batches of an undivided
            epoch, image by image.
        workers: processes that read image files; by default this process' share of the CPUs, at most 8. Results do not
            depend on it.

    Yields:
        Normalised images, float32 `[B, 3, resolution, resolution]` in channels_last, and labels, int64 `[B]`.

    Raises:
        ValueError: a batch, or a part of one, would hold fewer than 2 images.
    """
    if min(batch_size, len(images)) // part[1] < 2:
        parts = f", each in {part[1]} parts" if part[1] > 1 else ""
        raise ValueError(
            f"batch norm needs 2 images in a batch; {len(images)} images in batches of {batch_size}{parts} given"
        )
    order = torch.randperm(len(images), generator=_generator(seed, epoch))
    plan = [
        (order[index * batch_size : (index + 1) * batch_size], _generator(seed, epoch, index))
        for index in range(start, batches_per_epoch(len(images), batch_size))
    ]
    if isinstance(images, MemoryImages) and augment.auto is None:
        for indices, generator in plan:
            own = part_of(len(indices), part)
            pixels = _augmented(images.batch(indices[own]), resolution, augment, generator, len(indices), own)
            yield _normalised(pixels, images.format), images.labels[indices[own]]
    else:
        tasks = [
            list(
                zip(indices.tolist(), torch.randint(2**32, (len(indices),), generator=generator).tolist(), strict=True)
            )[part_of(len(indices), part)]
            for indices, generator in plan
        ]
        yield from _loaded(images, Pictures(images, resolution, augment), tasks, workers)


def part_of(count: int, part: tuple[int, int]) -> slice:
    """Which of `count` images belong to one of several parts; parts differ by one image at most."""
    index, parts = part
    return slice(index * count // parts, (index + 1) * count // parts)


def eval_batches(images: ImageSet, *, batch_size: int, resolution: int, workers: int | None = None) -> Iterator[Batch]:
    """All images in order, the last batch as long as it comes out.

    Large images are resized so that the centre crop shows `images.format.crop_pct` of their shorter side; small ones
    are resized as a whole.

    Args:
        images: what to evaluate on.
        batch_size: at least 1.
        resolution: height and width of the batches, in pixels.
        workers: processes that read image files; by default this process' share of the CPUs, at most 8.

    Yields:
        Normalised images, float32 `[B, 3, resolution, resolution]` in channels_last, and labels, int64 `[B]`.
    """
    indices = torch.arange(len(images)).split(batch_size)
    if isinstance(images, MemoryImages):
        for chosen in indices:
            pixels = _centre(images.batch(chosen), resolution, images.format.crop_pct)
            yield _normalised(pixels, images.format), images.labels[chosen]
    else:
        tasks = [[(index, 0) for index in chosen.tolist()] for chosen in indices]
        yield from _loaded(images, Pictures(images, resolution, None), tasks, workers)


def _generator(*key: int) -> torch.Generator:
    """A generator of its own for every key; hashing keeps those of neighbouring keys unrelated."""
    digest = hashlib.sha256(repr(key).encode()).digest()
    return torch.Generator().manual_seed(int.from_bytes(digest[:8], "big"))


def _normalised(pixels: Tensor, image_format: ImageFormat) -> Tensor:
    mean = torch.tensor(image_format.mean).view(1, 3, 1, 1) * 255
    std = torch.tensor(image_format.std).view(1, 3, 1, 1) * 255
    return pixels.to(torch.float32, memory_format=torch.channels_last).sub_(mean).div_(std)


def _resized(pixels: Tensor, side: int) -> Tensor:
    if pixels.shape[-2:] == (side, side):
        return pixels
    return functional.interpolate(pixels, size=(side, side), mode="bilinear", antialias=True)


def _centre(pixels: Tensor, resolution: int, crop_pct: float) -> Tensor:
    side = round(resolution / crop_pct)
    margin = (side - resolution) // 2
    return _resized(pixels, side)[..., margin : margin + resolution, margin : margin + resolution]


def _augmented(
    pixels: Tensor, resolution: int, augment: Augment, generator: torch.Generator, count: int, own: slice
) -> Tensor:
    """Vary the images `own` of a batch of `count`; what is drawn for the others is drawn, too."""
    if augment.level == "none":
        return _centre(pixels, resolution, 1.0)
    if augment.level == "crop":
        pixels = _random_crops(pixels, resolution, augment.scale, torch.rand(4, count, generator=generator)[:, own])
    else:
        pixels = _resized(pixels, resolution)
    flipped = torch.rand(count, generator=generator)[own] < augment.flip
    return torch.where(flipped.view(-1, 1, 1, 1), pixels.flip(-1), pixels)


def _random_crops(pixels: Tensor, resolution: int, scale: tuple[float, float], drawn: Tensor) -> Tensor:
    """A random part of every image, resized: area uniform in `scale`, aspect ratio log-uniform in `RATIO`.

    `drawn` `[4, B]`, uniform in 0..1, decides area, ratio and place.

    torch resizes uint8 images in channels_last layout with its fastest code, which makes a loop over images as fast as
    one `grid_sample` over the batch, and antialiased; a side that would leave the image is cut to it.
    """
    height, width = pixels.shape[-2:]
    area, ratio, down, right = drawn
    area = height * width * (scale[0] + (scale[1] - scale[0]) * area)
    ratio = torch.exp(math.log(RATIO[0]) + (math.log(RATIO[1]) - math.log(RATIO[0])) * ratio)
    tall = (area / ratio).sqrt().round().clamp(1, height)
    wide = (area * ratio).sqrt().round().clamp(1, width)
    top = (down * (height - tall + 1)).floor()
    left = (right * (width - wide + 1)).floor()
    boxes = torch.stack([top, left, top + tall, left + wide], dim=1).int().tolist()
    crops = [
        _resized(pixels[index : index + 1, :, y0:y1, x0:x1], resolution) for index, (y0, x0, y1, x1) in enumerate(boxes)
    ]
    return torch.cat(crops)


def _loaded(
    images: ImageSet, pictures: Pictures, tasks: list[list[tuple[int, int]]], workers: int | None
) -> Iterator[Batch]:
    if workers is None:
        workers = max(1, min((os.cpu_count() or 1) // on_this_machine(), 8))
    # Its own generator: a loader without one draws from torch's global state.
    loader = DataLoader(pictures, batch_sampler=tasks, num_workers=workers, generator=torch.Generator())
    try:
        for pixels, labels in loader:
            yield _normalised(pixels, images.format), labels
    except UserError as error:  # of a worker process: the message begins with its traceback
        raise UserError(str(error).strip().splitlines()[-1].rpartition("UserError: ")[2]) from error
