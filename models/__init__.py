"""What a network is: search spaces, architectures and their exact cost, the supernet, and stand-alone networks.

Importing this module registers `fairnas`, `fairnas_a`, `fairnas_b`, `fairnas_c` and their `_se` and `_se050` variants
with `timm.create_model`, at once or as soon as timm is imported.
"""

from typing import TYPE_CHECKING

from ..common.lazy import lazy_names
from . import benchmark_spaces  # noqa: F401  (fills in BENCHMARKS)
from .registration import register_with_timm

if TYPE_CHECKING:
    from .aligned_init import align_choices
    from .any_supernet import AnySupernet, build_supernet
    from .benchmark_spaces import BenchmarkSpace, MacroSpace, NasBench201Space
    from .benchmark_supernets import MacroSupernet, NasBench201Supernet
    from .blocks import Block, Cost
    from .counting import multiply_adds
    from .fairnas import PUBLISHED
    from .foreign import (
        build_any_network,
        check_classifier,
        classes_of,
        classifier_of,
        code_of,
        main_output,
        materialise,
    )
    from .foreign_digest import network_digest, seeded
    from .network_names import AnyNetwork, TimmModel, UserModel, parse_any_network, parse_network
    from .networks import build_network
    from .search_space import (
        BENCHMARKS,
        Architecture,
        Choice,
        Layer,
        SearchSpace,
        Space,
        any_space,
        get_space,
        list_spaces,
    )
    from .supernet import LayeredSupernet, Path, Supernet
    from .task import Task

__all__ = [
    "BENCHMARKS",
    "PUBLISHED",
    "AnyNetwork",
    "AnySupernet",
    "Architecture",
    "BenchmarkSpace",
    "Block",
    "Choice",
    "Cost",
    "Layer",
    "LayeredSupernet",
    "MacroSpace",
    "MacroSupernet",
    "NasBench201Space",
    "NasBench201Supernet",
    "Path",
    "SearchSpace",
    "Space",
    "Supernet",
    "Task",
    "TimmModel",
    "UserModel",
    "align_choices",
    "any_space",
    "build_any_network",
    "build_network",
    "build_supernet",
    "check_classifier",
    "classes_of",
    "classifier_of",
    "code_of",
    "get_space",
    "list_spaces",
    "main_output",
    "materialise",
    "multiply_adds",
    "network_digest",
    "parse_any_network",
    "parse_network",
    "seeded",
]

__getattr__ = lazy_names(__name__, __file__)

register_with_timm()
