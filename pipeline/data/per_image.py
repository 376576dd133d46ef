"""Preprocessing of one image at a time, in worker processes: for large sets, and for timm's augmentation policies."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import numpy as np
import torch
from PIL import Image
from torch import Tensor
from torch.utils.data import Dataset as TorchDataset
from torchvision.transforms import v2

from .augment import auto_policy
from .images import ImageSet
from .settings import Augment


class Pictures(TorchDataset[tuple[Tensor, int]]):
    """Maps (image index, seed) to a uint8 image `[3, resolution, resolution]` and its label.

    Args:
        images: where the images are.
        resolution: in pixels.
        augment: variation in training; None for the deterministic preprocessing of evaluation.
    """

    def __init__(self, images: ImageSet, resolution: int, augment: Augment | None) -> None:
        self.images = images
        steps: list[Callable[[Image.Image], Image.Image]] = []
        if augment is not None and augment.level == "crop":
            steps.append(v2.RandomResizedCrop(resolution, scale=augment.scale))
        else:
            crop_pct = images.format.crop_pct if augment is None else 1.0
            steps += [v2.Resize(round(resolution / crop_pct)), v2.CenterCrop(resolution)]
        if augment is not None and augment.level != "none":
            steps.append(v2.RandomHorizontalFlip(augment.flip))
        if augment is not None and augment.auto is not None:
            steps.append(auto_policy(augment.auto, resolution, images.format.mean))
        self.transform = v2.Compose([*steps, v2.PILToTensor()])

    def __getitem__(self, task: tuple[int, int]) -> tuple[Tensor, int]:
        index, seed = task
        with _seeded(seed):
            return self.transform(self.images.picture(index)), int(self.images.labels[index])


@contextmanager
def _seeded(seed: int) -> Iterator[None]:
    """Seed every global generator that transforms draw from, and put their states back."""
    states = random.getstate(), np.random.get_state(), torch.get_rng_state()
    random.seed(seed)
    np.random.seed(seed)
    torch.manual_seed(seed)
    try:
        yield
    finally:
        random.setstate(states[0])
        np.random.set_state(states[1])
        torch.set_rng_state(states[2])
