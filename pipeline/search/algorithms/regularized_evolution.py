"""Regularised evolution (Real et al. 2019): mutate the best of a sample, and the oldest die. For a single objective."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from .columns import column_of
from .interface import Algorithm, Genome
from .mutation import open_genes, other_values
from .packing import pack, unpack

if TYPE_CHECKING:
    from ..settings import SearchConfig


class RegularizedEvolution(Algorithm):
    """Cycles of the published algorithm, a generation of them at once, as if by that many workers.

    Among the sampled, Deb's rule decides: feasible before infeasible, then the objective or the violation.

    Args:
        genes: number of values of each gene.
        population: genomes per generation.
        seed: of the generator.
        alive: genomes that live at a time; the first that many are random.
        sample: of which the best becomes a parent, drawn with replacement.
        objective: column of the objectives.
    """

    def __init__(
        self,
        genes: Sequence[int],
        population: int,
        seed: int,
        alive: int = 100,
        sample: int = 25,
        objective: int = 0,
    ) -> None:
        super().__init__(genes, population, seed)
        self.alive, self.sample, self.objective = alive, sample, objective
        self._genomes = np.empty((0, len(self.genes)), dtype=np.int64)
        self._fitness = np.empty((0, 2))

    def tell(self, genomes: Sequence[Genome], objectives: np.ndarray, violations: np.ndarray) -> None:
        """Add the children; only the youngest live on."""
        if not len(genomes):
            return
        self._genomes = np.concatenate([self._genomes, np.array(genomes)])[-self.alive :]
        fitness = np.stack([violations, np.where(violations > 0, 0.0, objectives[:, self.objective])], axis=1)
        self._fitness = np.concatenate([self._fitness, fitness])[-self.alive :]

    def _propose(self, count: int) -> np.ndarray:
        if len(self._genomes) < self.alive:
            return self._random(count)
        place = np.empty(self.alive, dtype=np.int64)
        place[np.lexsort([self._fitness[:, 1], self._fitness[:, 0]])] = np.arange(self.alive)
        sampled = self._rng.integers(self.alive, size=(count, self.sample))
        parents = self._genomes[sampled[np.arange(count), place[sampled].argmin(axis=1)]]
        # One gene changes: with probability 0 each, `open_genes` opens exactly one.
        changed = open_genes(count, len(self.genes), 0.0, self._rng)
        return np.where(changed, other_values(parents, self.genes, self._rng), parents)

    def state(self) -> dict[str, Any]:
        """Everything, as JSON values."""
        return super().state() | {"genomes": self._genomes.tolist(), "fitness": pack(self._fitness)}

    def load_state(self, state: dict[str, Any]) -> None:
        """Go on from a saved state."""
        super().load_state(state)
        self._genomes = np.array(state["genomes"], dtype=np.int64).reshape(-1, len(self.genes))
        self._fitness = unpack(state["fitness"])


def make(settings: SearchConfig, genes: Sequence[int], seed: int, limits: Mapping[str, float]) -> RegularizedEvolution:
    """As `make_algorithm`."""
    options = settings.regularized_evolution
    objective = column_of(settings, options.objective)
    return RegularizedEvolution(genes, settings.population, seed, options.alive, options.sample, objective)
