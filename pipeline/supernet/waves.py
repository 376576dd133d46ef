"""Which images go down the tree of paths together, so that what is held of them fits into memory."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import NamedTuple

import torch
from torch import Tensor

from ..data import ImageSet


class Wave(NamedTuple):
    """Batches that go through the parts of a path together: images, or what has become of them."""

    calibration: list[Tensor]
    scored: list[Tensor]


class Waves:
    """All images, in one wave where they fit; else in several, those for calibration first.

    A single wave is read once and kept; others are read again each time.

    Args:
        calibration: images for statistics; may be empty.
        scored: images to classify.
        fitting: how many images memory holds along a path.
        batch_size: waves are cut between batches, so batches are the same in any number of waves; at least one batch
            goes at once.
        load: reads the batches of a set.
    """

    def __init__(
        self,
        calibration: ImageSet,
        scored: ImageSet,
        *,
        fitting: int,
        batch_size: int,
        load: Callable[[ImageSet], list[Tensor]],
    ) -> None:
        self._load = load
        self._only: Wave | None = None
        if len(calibration) + len(scored) <= fitting:
            self._plan = [(calibration, scored)]
            return
        size = max(1, fitting // batch_size) * batch_size
        nothing = scored.subset([])
        self._plan = [(piece, nothing) for piece in _cut(calibration, size)]
        self._plan += [(nothing, piece) for piece in _cut(scored, size)]

    def __len__(self) -> int:
        return len(self._plan)

    def __iter__(self) -> Iterator[Wave]:
        if len(self._plan) > 1:
            yield from map(self._read, self._plan)
            return
        if self._only is None:
            self._only = self._read(self._plan[0])
        yield self._only

    def _read(self, images: tuple[ImageSet, ImageSet]) -> Wave:
        return Wave(*(self._load(part) if len(part) else [] for part in images))


def _cut(images: ImageSet, size: int) -> list[ImageSet]:
    return [images.subset(indices) for indices in torch.arange(len(images)).split(size) if len(indices)]
