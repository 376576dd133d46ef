"""The search algorithms by name."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np

from ...errors import UserError
from .controller import Controller
from .interface import Algorithm
from .mnasnet import MixedReward, MnasNetSearch
from .mutation import HierarchicalMutation, RandomMutation
from .nsga2 import NSGA2
from .random_search import RandomSearch
from .regularized_evolution import RegularizedEvolution

if TYPE_CHECKING:
    from ..settings import SearchConfig


def make_algorithm(
    settings: SearchConfig, layers: int, choices: int, seed: int, limits: Mapping[str, float] | None = None
) -> Algorithm:
    """The algorithm that `settings.algorithm` names.

    Args:
        settings: which, and its parameters. The order of `settings.objectives` is that of the columns it is told.
        layers: genes per genome.
        choices: values per gene.
        seed: of its generator and of its controller's weights.
        limits: upper limit by quantity; MnasNet takes them for targets.

    Raises:
        UserError: the algorithm needs an objective that is not among the settings'.
    """
    size = (layers, choices, settings.population, seed)
    gene_probability = settings.mutation_probability or 1 / layers
    match settings.algorithm:
        case "nsga2-reinforced":
            hierarchy = settings.hierarchical_mutation
            controller = Controller(layers, choices, hierarchy.controller, seed)
            mutation = HierarchicalMutation(layers, choices, hierarchy, gene_probability, controller)
            return NSGA2(*size, settings.crossover_probability, mutation)
        case "nsga2":
            return NSGA2(*size, settings.crossover_probability, RandomMutation(choices, gene_probability))
        case "random":
            return RandomSearch(*size)
        case "regularized-evolution":
            options = settings.regularized_evolution
            return RegularizedEvolution(*size, options.alive, options.sample, _column(settings, options.objective))
        case "mnasnet":
            controller = Controller(layers, choices, settings.mnasnet.controller, seed)
            return MnasNetSearch(*size, controller, _mixed_reward(settings), _targets(settings, limits or {}))


def _column(settings: SearchConfig, quantity: str) -> int:
    names = list(settings.objectives)
    if quantity not in names:
        raise UserError(
            f"search.algorithm={settings.algorithm} needs {quantity} among search.objectives, "
            f"which are {', '.join(names)}"
        )
    return names.index(quantity)


def _costs(settings: SearchConfig) -> list[str]:
    return [quantity for quantity in settings.objectives if quantity != "accuracy"]


def _mixed_reward(settings: SearchConfig) -> MixedReward:
    return MixedReward(
        _column(settings, "accuracy"),
        tuple(_column(settings, quantity) for quantity in _costs(settings)),
        tuple(-1.0 if direction == "maximize" else 1.0 for direction in settings.objectives.values()),
        settings.mnasnet.exponent,
    )


def _targets(settings: SearchConfig, limits: Mapping[str, float]) -> list[float]:
    given = {**limits, **settings.mnasnet.targets}
    return [given.get(quantity, np.nan) for quantity in _costs(settings)]
