"""Images that are in two places: validated on though trained on, or of two classes at once."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor

from ...common.text import plain
from ..errors import UserError


def overlaps(names: Sequence[str], contents: Sequence[str], labels: Tensor, train_count: int) -> list[str]:
    """Notes about images with equal contents.

    Args:
        names: of all files, those of the training set first.
        contents: their digests.
        labels: of the training images, int64 `[train_count]`.
        train_count: how many files are trained on.

    Returns:
        A line for each kind of fault.

    Raises:
        UserError: all validation images are also training images, and they are not just one picture all over.
    """
    train: dict[str, int] = {}
    torn: list[tuple[int, int]] = []
    classes = labels.tolist()
    for index, content in enumerate(contents[:train_count]):
        first = train.setdefault(content, index)
        if classes[first] != classes[index]:
            torn.append((index, first))
    both = [(index, train[contents[index]]) for index in range(train_count, len(names)) if contents[index] in train]
    if len(both) == len(names) - train_count and len(set(contents[train_count:])) > 1:
        raise UserError(
            f"all {len(both):,} validation images are also training images{_first(names, both)}; "
            "validate on images that are not trained on"
        )
    notes: list[str] = []
    if both:
        notes.append(
            f"{len(both):,} of {len(names) - train_count:,} validation images are also training images"
            f"{_first(names, both)}: the accuracy that is reported will be too high"
        )
    if torn:
        notes.append(f"{len(torn):,} training images have an equal one in another class{_first(names, torn)}")
    return notes


def _first(names: Sequence[str], pairs: list[tuple[int, int]]) -> str:
    one, other = pairs[0]
    return f" (the first: {plain(names[one])} equals {plain(names[other])})"
