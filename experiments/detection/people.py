"""Penn-Fudan's pedestrians, or a folder laid out like it, as COCO annotations: split once, by a seed."""

from __future__ import annotations

import json
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from ...common.files import sha256_file, sha256_json
from ...pipeline.errors import UserError

OVERFIT = 8
"""Images that a detector must be able to learn by heart."""
HELDOUT_SHARE = 0.2
CATEGORY = {"id": 1, "name": "person"}


@dataclass(frozen=True)
class People:
    """Pictures of people.

    Attributes:
        folder: where the pictures are.
        parts: entries of annotations.json: `train`, `heldout`, and `overfit`, the first of `train`.
    """

    folder: Path
    parts: dict[str, list[dict[str, Any]]]

    @cached_property
    def digest(self) -> str:
        """Of the pictures, their annotations, and how they are split."""
        names = [entry["image"] for part in ("train", "heldout") for entry in self.parts[part]]
        pictures = {name: sha256_file(self.folder / name) for name in names}
        return sha256_json([self.parts, pictures])

    def coco(self, part: str) -> dict[str, Any]:
        """A part in COCO's format: boxes are `[x, y, width, height]` in pixels."""
        images, annotations = [], []
        for number, entry in enumerate(self.parts[part], start=1):
            images.append(
                {"id": number, "file_name": entry["image"], "width": entry["width"], "height": entry["height"]}
            )
            for left, top, right, bottom in entry["boxes_xyxy"]:
                annotations.append(
                    {
                        "id": len(annotations) + 1,
                        "image_id": number,
                        "category_id": CATEGORY["id"],
                        "bbox": [left, top, right - left, bottom - top],
                        "area": (right - left) * (bottom - top),
                        "iscrowd": 0,
                    }
                )
        return {"images": images, "annotations": annotations, "categories": [CATEGORY]}


def load_people(folder: Path, seed: int, heldout_share: float = HELDOUT_SHARE) -> People:
    """Read annotations.json, and split the pictures.

    Args:
        folder: holds annotations.json, a list of `{"image", "width", "height", "boxes_xyxy"}`, and the images.
        seed: of the split.
        heldout_share: of the pictures, for evaluation only.

    Raises:
        UserError: there is no such file, it holds something else, a picture is missing, or there are too few.
    """
    path = folder / "annotations.json"
    try:
        entries = json.loads(path.read_text())
        entries = [{key: entry[key] for key in ("image", "width", "height", "boxes_xyxy")} for entry in entries]
        boxes = [box for entry in entries for box in entry["boxes_xyxy"]]
        if not all(right > left and bottom > top for left, top, right, bottom in boxes):
            raise ValueError("a box is empty")
    except OSError as error:
        raise UserError(f"cannot read {path}: {error.strerror}") from None
    except (ValueError, KeyError, TypeError) as error:
        raise UserError(f"{path} is no list of pictures with boxes: {type(error).__name__} {error}") from None
    for entry in entries:
        if not (folder / entry["image"]).is_file():
            raise UserError(f"{folder / entry['image']} is missing")
    order = np.random.default_rng(seed).permutation(len(entries))
    held = round(len(entries) * heldout_share)
    if held < 1 or len(entries) - held < OVERFIT:
        raise UserError(f"{folder} has {len(entries)} pictures: too few to hold some out and learn {OVERFIT} by heart")
    shuffled = [entries[index] for index in order]
    train = shuffled[held:]
    return People(folder.resolve(), {"train": train, "heldout": shuffled[:held], "overfit": train[:OVERFIT]})
