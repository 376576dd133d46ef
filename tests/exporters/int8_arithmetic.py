"""Whether this processor multiplies 8-bit numbers exactly, as a file in 8 bits means it."""

from __future__ import annotations

import platform
from pathlib import Path

WHY = "this CPU adds pairs of 8-bit products in 16 bits (x86 without VNNI), where large ones saturate"


def is_exact() -> bool:
    """Not on x86 without VNNI: its instruction for unsigned times signed numbers clips sums of two products."""
    if platform.machine() not in ("x86_64", "AMD64"):
        return True
    facts = Path("/proc/cpuinfo")
    return facts.is_file() and "vnni" in facts.read_text()
