"""Where results come from: the commit of this project and the machine."""

from __future__ import annotations

import os
import platform
import subprocess
from functools import lru_cache
from pathlib import Path

import torch

from ...latency_tables import HostDevice

ROOT = Path(__file__).parents[2]


@lru_cache
def commit() -> str:
    """The checked-out commit of this project, `+dirty` when files differ from it, or `unknown` outside a checkout."""
    if not (ROOT / ".git").exists():
        return "unknown"
    try:
        head = _git("rev-parse", "HEAD")
        return head + ("+dirty" if _git("status", "--porcelain", "--untracked-files=no") else "")
    except (OSError, subprocess.SubprocessError):
        return "unknown"


def _git(*arguments: str) -> str:
    return subprocess.run(
        ["git", "-C", str(ROOT), *arguments], check=True, capture_output=True, text=True, timeout=10
    ).stdout.strip()


@lru_cache
def machine() -> dict[str, str | int]:
    """Processor, cores, threads in use and system of this machine: what a reader needs, and no name of it."""
    return {
        "processor": str(HostDevice().fingerprint()["name"]),
        "cores": os.cpu_count() or 1,
        "threads": torch.get_num_threads(),
        "system": f"{platform.system()} {platform.machine()}, {' '.join(platform.libc_ver())}",
    }
