"""How children differ from what their parents gave them: at random, or hierarchically with a controller that learns."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from ....models.genes import bounds
from .interface import Genome
from .rewards import REWARDS

if TYPE_CHECKING:
    from ..algorithm_settings import HierarchicalMutationConfig
    from .controller import Controller


class Mutation(ABC):
    """Changes children, and may learn from what became of them."""

    @abstractmethod
    def mutate(self, children: np.ndarray, survivors: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        """Mutated children `[n, layers]`.

        Args:
            children: `[n, layers]`, as crossover made them.
            survivors: `[population, layers]`, the genomes that live now.
            rng: of the search.
        """

    @abstractmethod
    def learn(
        self, genomes: Sequence[Genome], order: np.ndarray, objectives: np.ndarray, violations: np.ndarray
    ) -> None:
        """Take in what the children turned out to be worth.

        Args:
            genomes: the children that were scored; theirs are the last rows of the following.
            order: `[m]`, indices of survivors and children from best to worst.
            objectives: `[m, objectives]`, minimised.
            violations: `[m]`.
        """

    @abstractmethod
    def state(self) -> dict[str, Any]:
        """Everything, as JSON values."""

    @abstractmethod
    def load_state(self, state: dict[str, Any]) -> None:
        """Go on from a saved state."""


class RandomMutation(Mutation):
    """Each gene takes another value with the same probability, any other value alike."""

    def __init__(self, genes: Sequence[int], probability: float) -> None:
        self.genes, self.probability = tuple(genes), probability

    def mutate(self, children: np.ndarray, survivors: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        """Mutated children `[n, layers]`; some are unchanged."""
        changed = rng.random(children.shape) < self.probability
        return np.where(changed, other_values(children, self.genes, rng), children)

    def learn(
        self, genomes: Sequence[Genome], order: np.ndarray, objectives: np.ndarray, violations: np.ndarray
    ) -> None:
        """Chance learns nothing."""

    def state(self) -> dict[str, Any]:
        """Chance has no state of its own."""
        return {}

    def load_state(self, state: dict[str, Any]) -> None:
        """Nothing to load."""


class HierarchicalMutation(Mutation):
    """MoreMNAS' mutation in levels, with PPO (FairNAS, Algorithm 2 and Section 4.1).

    First whether a child is mutated at all; then who decides: chance, the controller (*reinforced*), or what survived
    so far (*prior*: a value's weight is how often the survivors carry it in that gene, plus one); then which genes are
    open, at least one; then their new values.

    Args:
        genes: number of values of each gene.
        settings: shares of the levels, and the reward.
        gene_probability: chance of each gene to be open.
        controller: proposes values of open genes.
    """

    def __init__(
        self,
        genes: Sequence[int],
        settings: HierarchicalMutationConfig,
        gene_probability: float,
        controller: Controller,
    ) -> None:
        self.genes = tuple(genes)
        self.settings, self.gene_probability = settings, gene_probability
        self.controller = controller
        shares = np.array([settings.random, settings.reinforced, settings.prior])
        self._kinds = shares / shares.sum()

    def mutate(self, children: np.ndarray, survivors: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        """Mutated children `[n, layers]`; the controller remembers what it proposed."""
        count = len(children)
        mutated = rng.random(count) < self.settings.ratio
        kind = np.where(mutated, rng.choice(3, size=count, p=self._kinds), -1)
        opened = open_genes(count, len(self.genes), self.gene_probability, rng)
        by_chance = other_values(children, self.genes, rng)
        by_prior = self._prior_values(children, survivors, rng)
        mutated_children = children.copy()
        for values, chosen in ((by_chance, kind == 0), (by_prior, kind == 2)):
            mutated_children = np.where(opened & chosen[:, None], values, mutated_children)
        reinforced = np.flatnonzero(kind == 1)
        if len(reinforced):
            mutated_children[reinforced] = self.controller.propose(children[reinforced], opened[reinforced], rng)
        return mutated_children

    def learn(
        self, genomes: Sequence[Genome], order: np.ndarray, objectives: np.ndarray, violations: np.ndarray
    ) -> None:
        """Reward the controller for its children."""
        rewards = REWARDS[self.settings.reward](order, objectives, violations)[-len(genomes) :]
        self.controller.learn(genomes, rewards)

    def _prior_values(self, children: np.ndarray, survivors: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        values, counts = np.arange(max(self.genes)), np.array(self.genes)
        weights = np.where(values < counts[:, None], 1.0 + (survivors[:, :, None] == values).sum(axis=0), 0.0)
        weights = np.where(children[:, :, None] == values, 0.0, weights)
        cumulative = weights.cumsum(axis=-1)
        drawn = rng.random(children.shape) * cumulative[..., -1]
        # Where a gene has a single value nothing has a weight.
        return np.minimum((cumulative <= drawn[..., None]).sum(axis=-1), counts - 1)

    def state(self) -> dict[str, Any]:
        """Everything, as JSON values."""
        return {"controller": self.controller.state()}

    def load_state(self, state: dict[str, Any]) -> None:
        """Go on from a saved state."""
        self.controller.load_state(state["controller"])


def other_values(genomes: np.ndarray, genes: Sequence[int], rng: np.random.Generator) -> np.ndarray:
    """A value for each gene that is not the one it has, all others alike (the same where there is only one).

    Args:
        genomes: `[n, genes]`.
        genes: number of values of each gene.
        rng: decides.
    """
    # A shift by 1 .. values-1 never gives the old value back.
    shift = rng.integers(1, bounds([max(count, 2) for count in genes]), size=genomes.shape)
    return (genomes + shift) % bounds(genes)


def open_genes(count: int, layers: int, probability: float, rng: np.random.Generator) -> np.ndarray:
    """Which genes may change, `[count, layers]`: each with this probability, and at least one of each genome."""
    genes = rng.random((count, layers)) < probability
    sure = rng.integers(layers, size=count)
    none = np.flatnonzero(~genes.any(axis=1))
    genes[none, sure[none]] = True
    return genes
