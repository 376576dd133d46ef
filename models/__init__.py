"""What a network is: search spaces, architectures and their exact cost, the supernet, and stand-alone networks.

Importing this module registers `fairnas`, `fairnas_a`, `fairnas_b`, `fairnas_c` and their `_se` and `_se050` variants
with `timm.create_model`.
"""

from .aligned_init import align_choices
from .blocks import Block, Cost
from .fairnas import PUBLISHED
from .networks import build_network, parse_network
from .search_space import Architecture, Choice, Layer, SearchSpace, get_space, list_spaces
from .supernet import Supernet

__all__ = [
    "PUBLISHED",
    "Architecture",
    "Block",
    "Choice",
    "Cost",
    "Layer",
    "SearchSpace",
    "Supernet",
    "align_choices",
    "build_network",
    "get_space",
    "list_spaces",
    "parse_network",
]
