"""Random search: every architecture alike, none twice. What any search has to beat."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np

from .interface import Algorithm, Genome

if TYPE_CHECKING:
    from ..settings import SearchConfig


class RandomSearch(Algorithm):
    """Draws uniformly and learns nothing."""

    def tell(self, genomes: Sequence[Genome], objectives: np.ndarray, violations: np.ndarray) -> None:
        """Scores change nothing."""

    def _propose(self, count: int) -> np.ndarray:
        return self._random(count)


def make(settings: SearchConfig, genes: Sequence[int], seed: int, limits: Mapping[str, float]) -> RandomSearch:
    """As `make_algorithm`."""
    return RandomSearch(genes, settings.population, seed)
