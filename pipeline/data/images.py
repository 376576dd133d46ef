"""Sets of labelled images: in memory when they are small, in their files when they are not."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from copy import copy
from dataclasses import dataclass, replace
from typing import Self

import torch
from PIL import Image
from torch import Tensor

from .decode import broken_image
from .kinds import read_image, to_rgb

# Images with a larger side than this show their object amid surroundings, which the centre crop of evaluation cuts off.
LARGE_SIDE = 128
LARGE_CROP_PCT = 0.875

Channels = tuple[float, float, float]


@dataclass(frozen=True, slots=True)
class ImageFormat:
    """How the images of a data set are brought to a network.

    Attributes:
        side: height and width of decoded images, in pixels; of images left in files, their usual shorter side.
        mean: per channel, of pixels in 0..1.
        std: per channel, of pixels in 0..1.
    """

    side: int
    mean: Channels
    std: Channels

    @property
    def crop_pct(self) -> float:
        """The part of the shorter side that evaluation looks at."""
        return LARGE_CROP_PCT if self.side > LARGE_SIDE else 1.0


class ImageSet(ABC):
    """Labelled images, in a fixed order.

    Attributes:
        labels: class indices, int64 `[N]`.
        format: size and normalisation.
    """

    labels: Tensor
    format: ImageFormat

    def __len__(self) -> int:
        return len(self.labels)

    @abstractmethod
    def picture(self, index: int) -> Image.Image:
        """One image in RGB at its stored size."""

    @abstractmethod
    def subset(self, indices: Tensor | Sequence[int]) -> Self:
        """The images at `indices`, in that order; pixels are shared, not copied."""

    def spread(self, count: int) -> Self:
        """At most `count` images, spread over the whole set: images of a class often lie side by side."""
        return self.subset(torch.linspace(0, len(self) - 1, min(len(self), count)).long())

    def normalised(self, mean: Channels, std: Channels) -> Self:
        """The same images for a network that expects another normalisation."""
        other = copy(self)
        other.format = replace(self.format, mean=mean, std=std)
        return other


class MemoryImages(ImageSet):
    """Decoded squares.

    Args:
        pixels: uint8 `[M, 3, side, side]`; fastest when channels_last.
        labels: int64 `[M]`.
        image_format: size and normalisation.
        indices: which of the M images belong to the set, all by default.
    """

    def __init__(
        self, pixels: Tensor, labels: Tensor, image_format: ImageFormat, indices: Tensor | None = None
    ) -> None:
        self._pixels = pixels
        self._all_labels = labels
        self._indices = torch.arange(len(labels)) if indices is None else indices
        self.labels = labels[self._indices]
        self.format = image_format

    def batch(self, indices: Tensor) -> Tensor:
        """The images at `indices`, uint8 `[B, 3, side, side]`."""
        return self._pixels[self._indices[indices]]

    def picture(self, index: int) -> Image.Image:
        """One square in RGB."""
        return Image.fromarray(self._pixels[self._indices[index]].permute(1, 2, 0).numpy())

    def subset(self, indices: Tensor | Sequence[int]) -> Self:
        """The images at `indices`, in that order; pixels are shared."""
        chosen = self._indices[torch.as_tensor(indices, dtype=torch.int64)]
        return type(self)(self._pixels, self._all_labels, self.format, chosen)


class FileImages(ImageSet):
    """Images that are decoded each time they are asked for, at their own sizes."""

    def __init__(self, paths: list[str], labels: Tensor, image_format: ImageFormat) -> None:
        self.paths = paths
        self.labels = labels
        self.format = image_format

    def picture(self, index: int) -> Image.Image:
        """One image in RGB at its stored size.

        Raises:
            UserError: it was sound when the set was loaded, and is broken or gone now.
        """
        try:
            return to_rgb(read_image(self.paths[index]))
        except Exception as error:
            raise broken_image(self.paths[index], error) from error

    def subset(self, indices: Tensor | Sequence[int]) -> Self:
        """The images at `indices`, in that order."""
        chosen = torch.as_tensor(indices, dtype=torch.int64)
        return type(self)([self.paths[i] for i in chosen.tolist()], self.labels[chosen], self.format)


@dataclass(frozen=True)
class Dataset:
    """Images to train on, to score paths on, and to judge the result on.

    Attributes:
        name: the folder's name or the named source.
        classes: class names; a label is an index into them.
        full_train: all training images (`train` and `heldout` together), for training a final network.
        train: the training images without the held-out ones.
        heldout: a stratified part of the training images; the search scores paths on it.
        val: validation images, for reporting only: nothing is ever selected on them.
        digest: sha256 of names and contents.
        demonstration: whether the images are a stand-in for data of the user's own.
        notes: what the user should know about the images, one line each: files ignored, images in both parts.
    """

    name: str
    classes: list[str]
    full_train: ImageSet
    train: ImageSet
    heldout: ImageSet
    val: ImageSet
    digest: str
    demonstration: bool = False
    notes: tuple[str, ...] = ()

    @property
    def native_resolution(self) -> int:
        """Height and width of the decoded squares, in pixels."""
        return self.val.format.side

    @property
    def mean(self) -> Channels:
        """Mean per channel, of pixels in 0..1."""
        return self.val.format.mean

    @property
    def std(self) -> Channels:
        """Standard deviation per channel, of pixels in 0..1."""
        return self.val.format.std

    @property
    def crop_pct(self) -> float:
        """The part of the shorter side that evaluation looks at."""
        return self.val.format.crop_pct
