"""NSGA-II over genomes (Deb et al. 2002), whatever the mutation."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from .fitness import order_by_fitness
from .interface import Algorithm, Genome
from .mutation import Mutation, RandomMutation
from .packing import pack, unpack

if TYPE_CHECKING:
    from ..settings import SearchConfig


class NSGA2(Algorithm):
    """Survivors are chosen by rank and crowding distance, parents by binary tournament (FairNAS, Algorithm 2).

    Constraints follow Deb's rule: a feasible genome beats an infeasible one, and of two infeasible ones the smaller
    violation wins.

    Args:
        genes: number of values of each gene.
        population: genomes per generation.
        seed: of the generator.
        crossover_probability: chance that two parents exchange genes (single point).
        mutation: what happens to the children; None means each gene changes with probability 1 / genes.
    """

    def __init__(
        self,
        genes: Sequence[int],
        population: int,
        seed: int,
        crossover_probability: float = 0.9,
        mutation: Mutation | None = None,
    ) -> None:
        super().__init__(genes, population, seed)
        self.crossover_probability = crossover_probability
        self.mutation = mutation or RandomMutation(genes, 1 / len(genes))
        self._genomes = np.empty((0, len(genes)), dtype=np.int64)
        self._objectives = np.empty((0, 0))
        self._violations = np.empty(0)

    def tell(self, genomes: Sequence[Genome], objectives: np.ndarray, violations: np.ndarray) -> None:
        """Take in scores, let the mutation learn from them, and choose the survivors."""
        if not len(genomes):
            return
        self._genomes = np.concatenate([self._genomes, np.array(genomes)])
        self._objectives = np.concatenate([self._objectives.reshape(-1, objectives.shape[1]), objectives])
        self._violations = np.concatenate([self._violations, violations])
        order = np.array(order_by_fitness(self._objectives, self._violations)[0])
        self.mutation.learn(genomes, order, self._objectives, self._violations)
        survivors = order[: self.population]
        self._genomes, self._objectives = self._genomes[survivors], self._objectives[survivors]
        self._violations = self._violations[survivors]

    def _propose(self, count: int) -> np.ndarray:
        if not len(self._genomes):
            return self._random(count)
        mothers, fathers = self._genomes[self._tournaments(count)], self._genomes[self._tournaments(count)]
        length = len(self.genes)
        crossed = self._rng.random(count) < self.crossover_probability
        point = np.where(crossed, self._rng.integers(1, max(length, 2), size=count), length)
        children = np.where(np.arange(length) < point[:, None], mothers, fathers)
        return self.mutation.mutate(children, self._genomes, self._rng)

    def _tournaments(self, count: int) -> np.ndarray:
        # Survivors are kept best first, so the smaller index wins.
        return self._rng.integers(len(self._genomes), size=(count, 2)).min(axis=1)

    def state(self) -> dict[str, Any]:
        """Everything, as JSON values."""
        return super().state() | {
            "genomes": self._genomes.tolist(),
            "objectives": pack(self._objectives),
            "violations": pack(self._violations),
            "mutation": self.mutation.state(),
        }

    def load_state(self, state: dict[str, Any]) -> None:
        """Go on from a saved state."""
        super().load_state(state)
        self._genomes = np.array(state["genomes"], dtype=np.int64).reshape(-1, len(self.genes))
        self._objectives, self._violations = unpack(state["objectives"]), unpack(state["violations"])
        self.mutation.load_state(state["mutation"])


def make(settings: SearchConfig, genes: Sequence[int], seed: int, limits: Mapping[str, float]) -> NSGA2:
    """As `make_algorithm`."""
    mutation = RandomMutation(genes, settings.mutation_probability or 1 / len(genes))
    return NSGA2(genes, settings.population, seed, settings.crossover_probability, mutation)
