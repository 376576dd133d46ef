"""Images by name: those that need no folder, and the answer to a folder that is not there."""

from __future__ import annotations

import difflib

from .errors import UserError

SOURCE_NAMES = ("digits", "cifar10", "cifar100", "imagenet")


def no_such_images(source: str) -> UserError:
    """The error of a folder that is not there."""
    near = difflib.get_close_matches(source[:80], SOURCE_NAMES, n=1)
    hint = f"; did you mean {near[0]}?" if near else ""
    names = ", ".join(SOURCE_NAMES)
    return UserError(f"no such folder: {source}; give a folder that holds train/ and val/, or one of {names}{hint}")
