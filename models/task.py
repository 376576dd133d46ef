"""What a network is given, and asked."""

from __future__ import annotations

from typing import NamedTuple


class Task(NamedTuple):
    """The ends of a network that no architecture decides.

    Attributes:
        resolution: height and width of the images, in pixels.
        num_classes: of the classifier.
    """

    resolution: int
    num_classes: int
