"""Where decoded images are kept between runs. Nothing depends on it: a missing or damaged cache is made anew."""

from __future__ import annotations

import contextlib
import os
from pathlib import Path

from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor


def cache_root() -> Path:
    """The project's folder in the user's cache: `$XDG_CACHE_HOME/fairnas`, usually `~/.cache/fairnas`."""
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "fairnas"


def fetch(key: str) -> tuple[dict[str, Tensor], dict[str, str]] | None:
    """Tensors and metadata stored under `key`, or None."""
    try:
        with safe_open(_path(key), framework="pt") as file:
            return {name: file.get_tensor(name) for name in file.keys()}, file.metadata() or {}  # noqa: SIM118
    except (OSError, SafetensorError):
        return None


def store(key: str, tensors: dict[str, Tensor], metadata: dict[str, str]) -> None:
    """Keep tensors and metadata under `key`; does nothing when the cache cannot be written (read-only, full disk)."""
    path = _path(key)
    partial = path.with_suffix(f".{os.getpid()}.partial")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        save_file(tensors, partial, metadata)
        partial.replace(path)
    except (OSError, SafetensorError):
        with contextlib.suppress(OSError):
            partial.unlink(missing_ok=True)


def _path(key: str) -> Path:
    return cache_root() / f"images-{key}.safetensors"
