"""What a few images can tell of a loss: the same images were answered before and after."""

from __future__ import annotations

import math
from dataclasses import dataclass

CONFIDENCE = 0.9
_Z = 1.2815515594457655  # 90% of a normal distribution lie below


@dataclass(frozen=True, slots=True)
class Loss:
    """A loss of right answers on the same images, between two formats of a network.

    Attributes:
        lost: images that only the first answered rightly.
        gained: images that only the second did.
        images: all of them.
    """

    lost: int
    gained: int
    images: int

    @property
    def share(self) -> float:
        """Loss as a share of all images; below 0 where more were gained."""
        return (self.lost - self.gained) / self.images

    @property
    def least(self) -> float:
        """What it is, with 90% confidence, at least."""
        return -_highest(self.gained, self.lost, self.images)

    @property
    def most(self) -> float:
        """What it is, with 90% confidence, at most."""
        return _highest(self.lost, self.gained, self.images)

    def breaks(self, limit: float) -> bool:
        """Whether more was lost than a limit allows.

        Where the images are enough to see losses of the size of the limit, the loss itself decides. Where they are
        not, one image more or less would decide; there the loss must be larger than the limit with 90% confidence.
        """
        if self.share <= limit:
            return False
        enough = limit == 0 or (self.most - self.least) / 2 <= limit
        return enough or self.least > limit

    def in_words(self, limit: float) -> str:
        """The loss beside its limit, and what the images can tell."""
        text = (
            f"by {self.lost - self.gained} of {self.images} images, {100 * self.share:.2f} points (limit "
            f"{100 * limit:.2f}; with 90% confidence {100 * self.least:.2f} or more, {100 * self.most:.2f} or less)"
        )
        if self.share > limit and not self.breaks(limit):
            return f"{text}: too few images to say that the limit is broken"
        return text if self.breaks(limit) or self.most <= limit else f"{text}: too few images to say that it is kept"


def _highest(lost: int, gained: int, images: int) -> float:
    """The upper end of the one-sided score interval of a difference of paired shares (Tango, 1998)."""
    low, high = (lost - gained) / images, 1.0
    for _ in range(50):
        middle = (low + high) / 2
        low, high = (middle, high) if _score(lost, gained, images, middle) > -_Z else (low, middle)
    return high


def _score(lost: int, gained: int, images: int, difference: float) -> float:
    """How many standard deviations the loss lies above one that is supposed."""
    b = -lost - gained + (2 * images - lost + gained) * difference
    c = -gained * difference * (1 - difference)
    share = (math.sqrt(max(0.0, b * b - 8 * images * c)) - b) / (4 * images)
    variance = images * (2 * share + difference * (1 - difference))
    distance = lost - gained - images * difference
    if variance <= 0:
        return math.copysign(math.inf, distance) if distance else 0.0
    return distance / math.sqrt(variance)
