"""What a checkpoint's file is called, and its seal: what needs no torch to be looked at."""

from __future__ import annotations

import hashlib
from pathlib import Path

CHECKPOINT = "checkpoint.pt"
"""The last one of a stage, in its folder."""

SEAL = b"fairnas checkpoint 2\n"
"""Digested before the payload: a file of format 2 is none of format 1, whose digest was of the payload alone."""

_DIGEST_BYTES = 32


def previous_of(path: Path) -> Path:
    """Where the checkpoint before that at `path` lies."""
    return path.with_name(f"{path.stem}.previous{path.suffix}")


def sealed(payload: bytes) -> bytes:
    """The content of a file of format 2."""
    return hashlib.sha256(SEAL + payload).digest() + payload


def unsealed(content: bytes) -> tuple[int, bytes] | None:
    """Format and payload of a file's content; None of what is not as it was written."""
    digest, payload = content[:_DIGEST_BYTES], content[_DIGEST_BYTES:]
    for version, seal in ((2, SEAL), (1, b"")):
        if hashlib.sha256(seal + payload).digest() == digest:
            return version, payload
    return None
