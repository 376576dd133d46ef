"""Names from outside that become paths, and paths that stay inside their folder."""

from __future__ import annotations

import re
from pathlib import Path

from .errors import FairnasError
from .text import plain

_LONGEST_BYTES = 120  # file systems take 255; temporary files and suffixes add to it
_RESERVED = re.compile(r"(?i)(con|prn|aux|nul|com\d|lpt\d)(\..*)?")  # Windows opens devices for these


class UnsafeNameError(FairnasError, ValueError):
    """A name cannot be a file's or folder's: it would leave its folder, or not be the same everywhere."""


def safe_name(name: object, what: str) -> str:
    """The name, if it can be that of one file or folder in any place.

    Args:
        name: from a file, a command line, a stranger.
        what: it names, for the error, such as `a pick`.

    Raises:
        UnsafeNameError: it is no text, is empty or over-long, has separators or control characters, begins with a dot
            or dash, is reserved somewhere, or cannot be written in UTF-8.
    """
    reason = _unsafe(name)
    if reason is not None:
        shown = plain(str(name))
        raise UnsafeNameError(f"'{shown[:80]}' cannot be the name of {what}: {reason}")
    assert isinstance(name, str)
    return name


def _unsafe(name: object) -> str | None:
    if not isinstance(name, str):
        return "it is no text"
    if not name.strip():
        return "it is empty"
    try:
        size = len(name.encode())
    except UnicodeEncodeError:
        return "it is not UTF-8"
    if size > _LONGEST_BYTES:
        return f"it is longer than {_LONGEST_BYTES} bytes"
    if any(character in name for character in "/\\:"):
        return "it has a separator of paths in it"
    if not name.isprintable():
        return "it has control characters in it"
    if name[0] in ".-" or name[0].isspace() or name[-1].isspace() or name[-1] == ".":
        return "it begins with a dot, a dash or a space, or ends with a dot or a space"
    if _RESERVED.fullmatch(name):
        return "it is a device's name on Windows"
    return None


def inside(folder: Path, *parts: str) -> Path:
    """The path below a folder, where nothing on the way is a link: links could lead out of it.

    Args:
        folder: what must not be left; it may itself be reached through links.
        *parts: relative paths below it, such as `retrain/pick-1`.

    Raises:
        UnsafeNameError: a part leads upwards or is absolute, or a link is on the way.
    """
    path = folder
    for part in Path(*parts).parts:
        if part in ("..", "/"):
            raise UnsafeNameError(f"{plain(str(Path(*parts)))} leads out of {plain(str(folder))}")
        path = path / part
        if path.is_symlink():
            raise UnsafeNameError(f"{plain(str(path))} is a link, and might lead out of its folder: remove it")
    return path


def at_home(path: str | Path) -> Path:
    """A path whose `~` is a home folder, as shells read it.

    Raises:
        UnsafeNameError: of a user who has none.
    """
    try:
        return Path(path).expanduser()
    except RuntimeError:
        raise UnsafeNameError(f"{plain(str(path))} begins with the home folder of a user who has none") from None
