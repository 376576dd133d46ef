"""Street scenes of a child's drawing, in the layout of CamVid: sky, road, cars, and a strip that is no class."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from PIL import Image

CLASSES = ("Sky", "Road", "Car")
SIZE = (64, 96)
_COLOURS = np.array([[120, 170, 230], [90, 90, 95], [200, 40, 40], [0, 0, 0]])
_VOID = len(CLASSES)


def draw_scenes(folder: Path, counts: tuple[int, int, int] = (24, 4, 8), seed: int = 0) -> Path:
    """Write train, val and test, of so many pictures."""
    rng = np.random.default_rng(seed)
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "classes.txt").write_text("\n".join([*CLASSES, "Unlabelled"]) + "\n")
    for split, count in zip(("train", "val", "test"), counts, strict=True):
        for number in range(count):
            _draw(folder, split, number, rng)
    return folder


def _draw(folder: Path, split: str, number: int, rng: np.random.Generator) -> None:
    height, width = SIZE
    labels = np.zeros(SIZE, np.uint8)
    horizon = int(rng.integers(height // 4, height // 2))
    labels[horizon:] = 1
    for _ in range(2):
        top, left = int(rng.integers(horizon - 8, height - 16)), int(rng.integers(0, width - 24))
        labels[top : top + 16, left : left + 24] = 2
    labels[-3:] = _VOID
    pixels = np.clip(_COLOURS[labels] + rng.normal(0, 12, (*SIZE, 3)), 0, 255).astype(np.uint8)
    for name, array, ending in ((split, pixels, "jpg"), (f"{split}annot", labels, "png")):
        (folder / name).mkdir(exist_ok=True)
        Image.fromarray(array).save(folder / name / f"{number:03d}.{ending}")
