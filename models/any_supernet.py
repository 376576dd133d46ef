"""The supernet of any space."""

from __future__ import annotations

from .benchmark_spaces import MacroSpace, NasBench201Space
from .benchmark_supernets import MacroSupernet, NasBench201Supernet
from .search_space import SearchSpace, Space
from .supernet import Supernet

AnySupernet = Supernet | MacroSupernet | NasBench201Supernet


def build_supernet(space: Space, num_classes: int) -> AnySupernet:
    """An untrained supernet.

    Raises:
        TypeError: no supernet is known for spaces of this kind.
    """
    if isinstance(space, SearchSpace):
        return Supernet(space, num_classes)
    if isinstance(space, MacroSpace):
        return MacroSupernet(space, num_classes)
    if isinstance(space, NasBench201Space):
        return NasBench201Supernet(space, num_classes)
    raise TypeError(f"no supernet is known for {type(space).__name__}")
