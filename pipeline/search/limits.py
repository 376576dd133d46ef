"""Limits with their numbers, as `history.json` words them: the search writes them, picks and the report read them."""

from __future__ import annotations

import re
from dataclasses import dataclass
from math import isfinite

from .quantities import COSTS


@dataclass(frozen=True, slots=True)
class Limit:
    """The most of a cost, or the least accuracy, that a network may have.

    Attributes:
        quantity: what is limited.
        value: how much is allowed.
        is_relative: it was given as what the median network has: it means networks, and follows the calibration.
    """

    quantity: str
    value: float
    is_relative: bool = False

    def __str__(self) -> str:
        """In words that keep every digit, such as `latency_ms<=8.1`."""
        return f"{self.quantity}{relation(self.quantity)}{self.value!r}"


def relation(quantity: str) -> str | None:
    """How a quantity is limited; None of what cannot be."""
    return "<=" if quantity in COSTS else ">=" if quantity == "accuracy" else None


def read_limit(text: object) -> Limit | None:
    """A limit from its words; None of anything else, which a damaged file or somebody else's may hold."""
    match = re.fullmatch(r"\s*(\w+)\s*[<>]=\s*(\S+)\s*", str(text))
    try:
        value = float(match[2]) if match else None
    except ValueError:
        return None
    return Limit(match[1], value) if match and value is not None and isfinite(value) else None
