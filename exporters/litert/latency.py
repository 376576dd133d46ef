"""How long a LiteRT file takes on this machine, as a passport records it."""

from __future__ import annotations

from collections.abc import Sequence
from importlib import metadata

from ...latency_tables import HostDevice
from ..passport.records import LatencyRecord
from .runtime import litert_latency


def latency_here(content: bytes, shape: Sequence[int], rounds: int) -> LatencyRecord:
    """The time of a file on this host, one thread; see `litert_latency`."""
    shortest, median = litert_latency(content, shape, rounds)
    return LatencyRecord(
        target="host",
        device=str(HostDevice().fingerprint()["name"]),
        kind="measured",
        source=f"measured, LiteRT {metadata.version('ai-edge-litert')}, XNNPACK, 1 thread",
        latency_ms=shortest,
        median_ms=median,
        rounds=rounds,
    )
