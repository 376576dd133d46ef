"""Folders of the user's: home, and what is kept between runs."""

from __future__ import annotations

import os
from pathlib import Path

from .errors import FairnasError
from .text import plain


def expanded(path: str | Path) -> Path:
    """The path with a leading `~` or `~name` replaced by that home folder.

    Raises:
        FairnasError: nobody has that name, or this process' user has no home.
    """
    try:
        return Path(path).expanduser()
    except RuntimeError:
        raise FairnasError(f"{plain(str(path))}: there is no such home folder; write the whole path") from None


def cache_root() -> Path:
    """The project's folder in the user's cache: `$XDG_CACHE_HOME/fairnas`, usually `~/.cache/fairnas`.

    Raises:
        FairnasError: neither is known.
    """
    if given := os.environ.get("XDG_CACHE_HOME"):
        return Path(given) / "fairnas"
    try:
        return Path.home() / ".cache" / "fairnas"
    except RuntimeError:
        raise FairnasError("this user has no home folder to keep a cache in: set XDG_CACHE_HOME to a folder") from None
