"""What a search may aim at and limit, by name."""

from __future__ import annotations

from typing import Literal

Quantity = Literal["accuracy", "latency_ms", "latency_upper_ms", "latency_int8_ms", "madds", "params"]

COSTS = ("latency_ms", "latency_upper_ms", "latency_int8_ms", "madds", "params")
"""Known before anything is scored; their limits are upper ones. Accuracy is scored, and its limit is a lower one."""

UNITS = {
    "accuracy": ("one-shot top-1", 1.0),
    "latency_ms": ("latency (ms)", 1.0),
    "latency_upper_ms": ("latency, upper end of its interval (ms)", 1.0),
    "latency_int8_ms": ("int8 latency (ms)", 1.0),
    "madds": ("multiply-adds (M)", 1e6),
    "params": ("parameters (M)", 1e6),
}
"""How each is shown, and the unit that it is shown in."""


def excess(quantity: str, value: float, limit: float) -> float:
    """By how much a value breaks a limit, relative to the limit; 0 when it keeps it."""
    beyond = value - limit if quantity in COSTS else limit - value
    return max(0.0, beyond / limit)


def chance_in_words(chance: float) -> str:
    """A chance in percent that never claims to be certain."""
    return "over 99%" if chance > 0.99 else "under 1%" if chance < 0.01 else f"{chance:.0%}"
