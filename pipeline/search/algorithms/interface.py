"""What every search algorithm is: asked for a generation of genomes, then told what they are worth."""

from __future__ import annotations

import base64
from abc import ABC, abstractmethod
from collections.abc import Sequence
from math import prod
from typing import Any

import numpy as np

from ....models.genes import draw_values

Genome = tuple[int, ...]

_ROUNDS = 50


class Algorithm(ABC):
    """Asks for genomes that were never asked before, with a random generator of its own.

    `ask` and `tell` are Optuna's `Study.ask` and `Study.tell` for a whole generation. They are no Optuna sampler: one
    is asked parameter by parameter, and each is written to the storage, which costs many times what all this does
    (`results/search_overhead.json`). The search's Optuna study records what happened instead.

    Args:
        genes: number of values of each gene.
        population: genomes per generation.
        seed: decides everything, together with what is told.
    """

    def __init__(self, genes: Sequence[int], population: int, seed: int) -> None:
        self.genes, self.population = tuple(genes), population
        self._rng = np.random.default_rng(seed)
        self._seen: dict[bytes, None] = {}

    def ask(self) -> list[Genome]:
        """The next generation: `population` new genomes, or as many as the space still has."""
        wanted = min(self.population, prod(self.genes) - len(self._seen))
        asked: list[Genome] = []
        for _ in range(_ROUNDS):
            if len(asked) < wanted:
                self._take_new(self._propose(wanted - len(asked)), asked)
        while len(asked) < wanted:
            self._take_new(self._random(self.population), asked, wanted - len(asked))
        return asked

    @abstractmethod
    def tell(self, genomes: Sequence[Genome], objectives: np.ndarray, violations: np.ndarray) -> None:
        """Take in scores.

        Args:
            genomes: as asked.
            objectives: `[n, objectives]`, all to be minimised.
            violations: `[n]`, 0 for feasible genomes, else how far the limits are exceeded.
        """

    def state(self) -> dict[str, Any]:
        """Everything, as JSON values."""
        return {"rng": self._rng.bit_generator.state, "seen": base64.b64encode(b"".join(self._seen)).decode("ascii")}

    def load_state(self, state: dict[str, Any]) -> None:
        """Go on from a saved state, exactly as the algorithm that saved it."""
        self._rng.bit_generator.state = state["rng"]
        data, size = base64.b64decode(state["seen"], validate=True), len(_key(self.genes))
        self._seen = {data[start : start + size]: None for start in range(0, len(data), size)}

    @abstractmethod
    def _propose(self, count: int) -> np.ndarray:
        """`count` genomes `[count, genes]` that may have been asked before."""

    def _random(self, count: int) -> np.ndarray:
        return draw_values(self.genes, self._rng, count)

    def _take_new(self, proposed: np.ndarray, asked: list[Genome], most: int | None = None) -> None:
        """Add at most `most` of the proposed genomes, those that were never asked before."""
        room = len(asked) + (len(proposed) if most is None else most)
        for row in proposed.tolist():
            genome = tuple(row)
            if len(asked) < room and (key := _key(genome)) not in self._seen:
                self._seen[key] = None
                asked.append(genome)


def _key(genome: Genome) -> bytes:
    return np.array(genome, dtype="<u2").tobytes()
