"""NSGA-II over genomes (Deb et al. 2002), as ask and tell, with its own random generator."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from pymoo.operators.survival.rank_and_crowding.metrics import get_crowding_function
from pymoo.util.nds.non_dominated_sorting import NonDominatedSorting

Genome = tuple[int, ...]
_RETRIES = 50


class NSGA2:
    """Asks for generations of architectures and is told what they are worth.

    Survivors are chosen by rank and crowding distance, parents by binary tournament. Constraints follow Deb's rule: a
    feasible genome beats an infeasible one, and of two infeasible ones the smaller violation wins.

    Args:
        layers: genes per genome.
        choices: values per gene.
        population: genomes per generation.
        seed: of the generator.
        crossover_probability: chance that two parents exchange genes (single point).
        mutation_probability: chance per gene of another value; None means 1 / layers.
    """

    def __init__(
        self,
        layers: int,
        choices: int,
        population: int,
        seed: int,
        crossover_probability: float = 0.9,
        mutation_probability: float | None = None,
    ) -> None:
        self.layers, self.choices, self.population = layers, choices, population
        self.crossover_probability = crossover_probability
        self.mutation_probability = 1 / layers if mutation_probability is None else mutation_probability
        self._rng = np.random.default_rng(seed)
        self._genomes = np.empty((0, layers), dtype=np.int64)
        self._objectives = np.empty((0, 0))
        self._violations = np.empty(0)
        self._seen: set[Genome] = set()

    def ask(self) -> list[Genome]:
        """The next generation: genomes that were never asked before, as long as the space has such."""
        offspring: list[Genome] = []
        while len(offspring) < self.population and len(self._seen) < self.choices**self.layers:
            genome = self._new_genome()
            self._seen.add(genome)
            offspring.append(genome)
        return offspring

    def tell(self, genomes: Sequence[Genome], objectives: np.ndarray, violations: np.ndarray) -> None:
        """Take in scores and choose the survivors.

        Args:
            genomes: as asked.
            objectives: `[n, objectives]`, all to be minimised.
            violations: `[n]`, 0 for feasible genomes, else how far the limits are exceeded.
        """
        if not len(genomes):
            return
        self._genomes = np.concatenate([self._genomes, np.array(genomes)])
        self._objectives = np.concatenate([self._objectives.reshape(-1, objectives.shape[1]), objectives])
        self._violations = np.concatenate([self._violations, violations])
        survivors = np.array(order_by_fitness(self._objectives, self._violations)[0][: self.population])
        self._genomes, self._objectives = self._genomes[survivors], self._objectives[survivors]
        self._violations = self._violations[survivors]

    def _new_genome(self) -> Genome:
        for _ in range(_RETRIES):
            genome = self._bred() if len(self._genomes) else self._random()
            if genome not in self._seen:
                return genome
        while (genome := self._random()) in self._seen:
            pass
        return genome

    def _random(self) -> Genome:
        return tuple(self._rng.integers(self.choices, size=self.layers).tolist())

    def _bred(self) -> Genome:
        mother, father = self._tournament(), self._tournament()
        child = self._genomes[mother].copy()
        if self._rng.random() < self.crossover_probability:
            point = self._rng.integers(1, self.layers)
            child[point:] = self._genomes[father][point:]
        mutated = self._rng.random(self.layers) < self.mutation_probability
        # A shift by 1 .. choices-1 never gives the old value back.
        shift = self._rng.integers(1, self.choices, size=self.layers)
        return tuple(np.where(mutated, (child + shift) % self.choices, child).tolist())

    def _tournament(self) -> int:
        # Survivors are kept best first, so the smaller index wins.
        return int(self._rng.integers(len(self._genomes), size=2).min())

    def state(self) -> dict[str, Any]:
        """Everything, as JSON values."""
        return {
            "rng": self._rng.bit_generator.state,
            "genomes": self._genomes.tolist(),
            "objectives": self._objectives.tolist(),
            "violations": self._violations.tolist(),
            "seen": sorted(self._seen),
        }

    def load_state(self, state: dict[str, Any]) -> None:
        """Go on from a saved state."""
        self._rng.bit_generator.state = state["rng"]
        self._genomes = np.array(state["genomes"], dtype=np.int64).reshape(-1, self.layers)
        self._objectives = np.array(state["objectives"])
        self._violations = np.array(state["violations"])
        self._seen = {tuple(genome) for genome in state["seen"]}


def order_by_fitness(objectives: np.ndarray, violations: np.ndarray) -> tuple[list[int], list[int]]:
    """Indices from best to worst, and the rank of each index in that order.

    Feasible ones come first, by non-dominated rank and then by falling crowding distance; then the infeasible ones by
    growing violation.

    Args:
        objectives: `[n, objectives]`, minimised.
        violations: `[n]`, 0 when feasible.
    """
    feasible, infeasible = np.flatnonzero(violations <= 0), np.flatnonzero(violations > 0)
    order: list[int] = []
    ranks: list[int] = []
    fronts = NonDominatedSorting().do(objectives[feasible]) if len(feasible) else []
    crowding = get_crowding_function("cd")
    for rank, front in enumerate(fronts):
        distance = np.asarray(crowding.do(objectives[feasible[front]], n_remove=0))
        # lexsort is stable and the last key leads: distance first, then the older genome.
        best_first = feasible[front][np.lexsort([feasible[front], -distance])]
        order += best_first.tolist()
        ranks += [rank] * len(front)
    by_violation = infeasible[np.argsort(violations[infeasible], kind="stable")]
    return order + by_violation.tolist(), ranks + [len(fronts)] * len(infeasible)
