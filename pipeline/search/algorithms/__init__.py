"""The search algorithms."""

from .registry import ALGORITHMS, make_algorithm

__all__ = ["ALGORITHMS", "make_algorithm"]
