"""Single-path one-shot (SPOS): every choice is as likely as every other."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ....models import Space
from ..step import SampledPath
from .interface import RandomSampling

if TYPE_CHECKING:
    from ..settings import SupernetConfig


class SinglePathSampling(RandomSampling):
    """SPOS (Guo et al. 2020, arXiv 1904.00420): one uniform path, one batch, one update."""

    def sample(self) -> list[SampledPath]:
        """One path."""
        return [self._uniform_path()]


def make(
    settings: SupernetConfig, space: Space, num_classes: int, seed: int, backward_passes: int
) -> SinglePathSampling:
    """As `make_sampling`."""
    return SinglePathSampling(space.genes, seed)
