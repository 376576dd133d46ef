"""When an accuracy is no more than guessing gives."""

from __future__ import annotations

import pytest
from fairnas.pipeline.training.chance import chance_warning


@pytest.mark.parametrize(
    ("top1", "images", "classes", "warned"),
    [
        (0.102, 1000, 10, True),
        (0.05, 1000, 10, True),  # worse than guessing has learnt nothing, either
        (0.123, 1000, 10, True),  # 99% of guessers have at most 123 right
        (0.124, 1000, 10, False),
        (0.13, 100, 10, True),  # 13 of 100 is luck
        (0.13, 10_000, 10, False),  # 1,300 of 10,000 is not
        (0.001, 50_000, 1000, True),
        (0.0015, 50_000, 1000, False),
        (0.5, 200, 2, True),
        (0.6, 200, 2, False),
        (1.0, 200, 1, False),
    ],
)
def test_the_bound_is_that_of_so_many_images(top1: float, images: int, classes: int, warned: bool) -> None:
    assert (chance_warning(top1, images, classes) is not None) == warned


def test_the_line() -> None:
    assert chance_warning(0.102, 1000, 10) == (
        "top-1 10.2% on 1,000 images is what chance gives for 10 classes: nothing was learnt"
    )
