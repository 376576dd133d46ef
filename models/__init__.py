"""What a network is: search spaces, architectures and their exact cost, the supernet, and stand-alone networks.

Importing this module registers `fairnas`, `fairnas_a`, `fairnas_b`, `fairnas_c` and their `_se` and `_se050` variants
with `timm.create_model`, at once or as soon as timm is imported.
"""

from typing import TYPE_CHECKING

from ..common.lazy import lazy_names
from .registration import register_with_timm

if TYPE_CHECKING:
    from .architecture import Architecture
    from .blocks import Block, Cost
    from .counting import multiply_adds
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
    from .spaces.benchmark import BenchmarkSpace
    from .spaces.macro import MacroSpace
    from .spaces.macro_supernet import MacroSupernet
    from .spaces.mobile.aligned_init import align_choices
    from .spaces.mobile.networks import build_network
    from .spaces.mobile.published import PUBLISHED
    from .spaces.mobile.space import Choice, Layer, SearchSpace
    from .spaces.mobile.supernet import Supernet
    from .spaces.nasbench201 import NasBench201Space
    from .spaces.nasbench201_supernet import NasBench201Supernet
    from .spaces.registry import BENCHMARKS, any_space, get_space, list_spaces
    from .spaces.space import Space
    from .supernet import AnySupernet, LayeredSupernet, Path, build_supernet
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
