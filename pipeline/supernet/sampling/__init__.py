"""Which paths each update of a supernet trains: strict fairness and what it is compared with."""

from .registry import SAMPLINGS, make_sampling

__all__ = ["SAMPLINGS", "make_sampling"]
