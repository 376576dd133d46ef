"""NSGA-II with hierarchical mutation and a controller that learns: the search of FairNAS (Algorithm 2)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from .controller import Controller
from .mutation import HierarchicalMutation
from .nsga2 import NSGA2

if TYPE_CHECKING:
    from ..settings import SearchConfig


def make(settings: SearchConfig, genes: Sequence[int], seed: int, limits: Mapping[str, float]) -> NSGA2:
    """As `make_algorithm`."""
    hierarchy = settings.hierarchical_mutation
    controller = Controller(genes, hierarchy.controller, seed)
    gene_probability = settings.mutation_probability or 1 / len(genes)
    mutation = HierarchicalMutation(genes, hierarchy, gene_probability, controller)
    return NSGA2(genes, settings.population, seed, settings.crossover_probability, mutation)
