"""Is a file a TensorRT engine? Without a GPU its head is all that can be looked at."""

from __future__ import annotations

from pathlib import Path

from ..checks.findings import Finding, failed, ok, skipped

HEADS = (b"ftrt", b"ptrt")
"""How TensorRT's serialised engines begin."""

RTX_HEAD = b"vtrt" + bytes(4) + (2).to_bytes(8, "little")
"""How those of TensorRT-RTX 1.1 begin; then comes their own size, in 8 bytes."""


def check_engine(path: Path, name: str) -> Finding:
    """Look at the head of a file that findings call `name`."""
    with path.open("rb") as file:
        head = file.read(24)
    if not head:
        return failed(name, "engine", "it is empty")
    if head[:4] in HEADS:
        return ok(name, "engine")
    if head[:16] != RTX_HEAD:
        return skipped(name, "engine", f"it begins with {head[:4]!r}, of which nothing is known; its bytes are checked")
    stated = int.from_bytes(head[16:24], "little")
    if stated != path.stat().st_size:
        return failed(name, "engine", f"it has {path.stat().st_size:,} bytes, and says {stated:,} of itself")
    return ok(name, "engine")
