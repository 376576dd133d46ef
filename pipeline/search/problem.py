"""What is searched, for what, and who scores it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from ...models import SearchSpace
from .algorithms import make_algorithm
from .algorithms.interface import Algorithm, Genome
from .archive import Archive, Scored
from .costs import SpaceCosts
from .scoring import Advance, SharedScorer
from .settings import SearchConfig


@dataclass(frozen=True)
class Problem:
    """A search that anybody who has the same one carries out to the same end.

    Attributes:
        settings: how to search.
        seed: of the algorithm.
        space: what to search.
        costs: of its architectures at deploy size.
        limits: limit by quantity.
        scorer: of one-shot accuracies.
    """

    settings: SearchConfig
    seed: int
    space: SearchSpace
    costs: SpaceCosts
    limits: dict[str, float]
    scorer: SharedScorer

    @property
    def at_once(self) -> int:
        """How many architectures are scored before their scores are put away."""
        return self.settings.chunk * self.scorer.width

    def algorithm(self) -> Algorithm:
        """A fresh search algorithm."""
        return make_algorithm(self.settings, self.space.genes, self.seed, self.limits)

    def archive(self) -> Archive:
        """An empty archive."""
        return Archive(dict(self.settings.objectives), self.limits)

    def score(self, genomes: Sequence[Genome], advance: Advance) -> list[float]:
        """One-shot accuracies of genomes, in their order."""
        return self.scorer.score_all([self.space.architecture(genome) for genome in genomes], advance)

    def scored(self, genome: Genome, generation: int, accuracy: float) -> Scored:
        """An architecture with its accuracy and all that it costs."""
        values = {"accuracy": accuracy, **self.costs.of(genome)}
        architecture = str(self.space.architecture(genome))
        return Scored(tuple(genome), architecture, generation, values, self.costs.is_extrapolated(genome))
