"""Random search: every architecture alike, none twice. What any search has to beat."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from .interface import Algorithm, Genome


class RandomSearch(Algorithm):
    """Draws uniformly and learns nothing."""

    def tell(self, genomes: Sequence[Genome], objectives: np.ndarray, violations: np.ndarray) -> None:
        """Scores change nothing."""

    def _propose(self, count: int) -> np.ndarray:
        return self._random(count)
