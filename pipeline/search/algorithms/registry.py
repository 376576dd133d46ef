"""The search algorithms by name: each is a module with a `make`, and a line here."""
# ruff: noqa: F401, I001  (these imports are a list, in the order in which people see it)

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Protocol

from ....common.registry import Registry

if TYPE_CHECKING:
    from ..settings import SearchConfig
    from .interface import Algorithm

    from .nsga2_reinforced import make as nsga2_reinforced
    from .nsga2 import make as nsga2
    from .random_search import make as random
    from .mnasnet import make as mnasnet
    from .regularized_evolution import make as regularized_evolution


class Make(Protocol):
    """Makes an algorithm of a kind."""

    def __call__(
        self, settings: SearchConfig, genes: Sequence[int], seed: int, limits: Mapping[str, float]
    ) -> Algorithm:
        """A fresh one; the arguments are those of `make_algorithm`."""
        ...


ALGORITHMS: Registry[Make] = Registry(__package__, __file__)


def make_algorithm(
    settings: SearchConfig, genes: Sequence[int], seed: int, limits: Mapping[str, float] | None = None
) -> Algorithm:
    """The algorithm that `settings.algorithm` names.

    Args:
        settings: which, and its parameters. The order of `settings.objectives` is that of the columns it is told.
        genes: number of values of each gene.
        seed: of its generator and of its controller's weights.
        limits: upper limit by quantity; MnasNet takes them for targets.

    Raises:
        UserError: the algorithm needs an objective that is not among the settings'.
    """
    return ALGORITHMS[settings.algorithm](settings, genes, seed, limits or {})
