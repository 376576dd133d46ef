"""MnasNet's search (Tan et al. 2019): a controller writes genomes, rewarded by accuracy and cost in one number."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from .columns import column_of
from .controller import Controller
from .interface import Algorithm, Genome
from .packing import pack, unpack

if TYPE_CHECKING:
    from ..settings import SearchConfig


@dataclass(frozen=True, slots=True)
class MixedReward:
    """`accuracy * (cost / target) ** exponent`, a factor per cost (MnasNet, equation 2).

    Limits are hard: a network that exceeds them is worth `1 / (1 + violation)` of that, MnasNet's exponent of -1.

    Attributes:
        accuracy: column of the objectives that holds it, as its negative.
        costs: columns of the costs.
        signs: of each column: -1 where the quantity is maximised, and stands there as its negative.
        exponent: of each cost that is minimised; the opposite for one that is maximised.
    """

    accuracy: int
    costs: tuple[int, ...]
    signs: tuple[float, ...]
    exponent: float

    def __call__(self, objectives: np.ndarray, violations: np.ndarray, targets: np.ndarray) -> np.ndarray:
        """Rewards `[n]`; `targets` holds one number per cost."""
        rewards = -objectives[:, self.accuracy] / (1 + violations)
        for column, target in zip(self.costs, targets, strict=True):
            sign = self.signs[column]
            relative = np.maximum(sign * objectives[:, column] / target, np.finfo(float).tiny)
            rewards = rewards * relative ** (sign * self.exponent)
        return rewards


class MnasNetSearch(Algorithm):
    """PPO on the mixed reward.

    Args:
        genes: number of values of each gene.
        population: genomes per generation.
        seed: of the generator.
        controller: writes genomes.
        reward: of a genome.
        targets: per cost; NaN stands for the median of the first generation.
    """

    def __init__(
        self,
        genes: Sequence[int],
        population: int,
        seed: int,
        controller: Controller,
        reward: MixedReward,
        targets: Sequence[float],
    ) -> None:
        super().__init__(genes, population, seed)
        self.controller, self.reward = controller, reward
        self._targets = np.array(targets, dtype=float)

    def tell(self, genomes: Sequence[Genome], objectives: np.ndarray, violations: np.ndarray) -> None:
        """Reward the controller."""
        if not len(genomes):
            return
        medians = np.abs(np.median(objectives[:, list(self.reward.costs)], axis=0))
        medians = np.where(medians > 0, medians, 1.0)
        self._targets = np.where(np.isnan(self._targets), medians, self._targets)
        self.controller.learn(genomes, self.reward(objectives, violations, self._targets))

    def _propose(self, count: int) -> np.ndarray:
        blank = np.full((count, len(self.genes)), self.controller.none)
        return self.controller.propose(blank, np.ones_like(blank, dtype=bool), self._rng)

    def state(self) -> dict[str, Any]:
        """Everything, as JSON values."""
        return super().state() | {"targets": pack(self._targets), "controller": self.controller.state()}

    def load_state(self, state: dict[str, Any]) -> None:
        """Go on from a saved state."""
        super().load_state(state)
        self._targets = unpack(state["targets"])
        self.controller.load_state(state["controller"])


def make(settings: SearchConfig, genes: Sequence[int], seed: int, limits: Mapping[str, float]) -> MnasNetSearch:
    """As `make_algorithm`."""
    controller = Controller(genes, settings.mnasnet.controller, seed)
    costs = [quantity for quantity in settings.objectives if quantity != "accuracy"]
    reward = MixedReward(
        column_of(settings, "accuracy"),
        tuple(column_of(settings, quantity) for quantity in costs),
        tuple(-1.0 if direction == "maximize" else 1.0 for direction in settings.objectives.values()),
        settings.mnasnet.exponent,
    )
    given = {**limits, **settings.mnasnet.targets}
    targets = [given.get(quantity, np.nan) for quantity in costs]
    return MnasNetSearch(genes, settings.population, seed, controller, reward, targets)
