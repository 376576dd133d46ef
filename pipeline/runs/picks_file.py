"""`picks.json`: what the search picked. It may come with somebody else's run folder."""

from __future__ import annotations

import hashlib
import math
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from ...common.errors import UnreadableFile
from ...common.names import UnsafeNameError, safe_name
from ...common.reading import read_json
from ...common.text import plain
from ...models import Architecture
from ..errors import UserError

_NUMBERS = ("accuracy", "latency_ms", "latency_low_ms", "latency_high_ms", "madds", "params", "measured_ms")
_ALWAYS = ("accuracy", "latency_ms", "madds")
FINAL = ("latency_low_ms", "latency_high_ms")  # of picks that were checked on the device


def is_pick(name: str) -> bool:
    """Whether a network's name is one that the search gives; no other network is called so."""
    return re.fullmatch(r"pick-\d+", name) is not None


def folder_name(text: str) -> str:
    """A name as that of a folder; where nothing is left of it that could be one, after its digest."""
    try:
        return safe_name(re.sub(r"[^\w.-]+", "-", text).lstrip(".-").rstrip("."), "a network")
    except UnsafeNameError:
        return hashlib.sha256(text.encode(errors="surrogatepass")).hexdigest()[:8]


def read_picks(path: Path, space: str, needed: Sequence[str] = FINAL) -> list[dict[str, Any]]:
    """The picks of a search of one space.

    Args:
        path: of the file.
        space: name of the space.
        needed: figures that each pick must have, besides those that all have.

    Raises:
        UserError: the file is damaged: a pick has no safe name of its own, no architecture of that space, or figures
            that are no numbers.
    """
    try:
        rows = read_json(path)
    except UnreadableFile as error:
        raise UserError(f"{error}: search again with --force search") from None
    reason = _wrong(rows, space, needed)
    if reason is not None:
        raise UserError(f"{plain(str(path))} is damaged ({reason}): search again with --force search")
    return rows


def _wrong(rows: Any, space: str, needed: Sequence[str]) -> str | None:
    if not isinstance(rows, list) or not rows:
        return "it is no list of picks"
    names: set[str] = set()
    for row in rows:
        if not isinstance(row, dict):
            return "a pick is no object"
        try:
            name = safe_name(row.get("name"), "a pick")
        except UnsafeNameError as error:
            return str(error)
        if not is_pick(name) or name in names:
            return f"'{name}' is not the name of one pick"
        names.add(name)
        if (reason := _wrong_architecture(row.get("architecture"), space)) is not None:
            return f"{name}: {reason}"
        for quantity in _NUMBERS:
            if quantity in row or quantity in (*_ALWAYS, *needed):
                value = row.get(quantity)
                if not isinstance(value, int | float) or isinstance(value, bool) or not math.isfinite(value):
                    return f"{name}: {quantity} is no number"
    return None


def _wrong_architecture(text: Any, space: str) -> str | None:
    if not isinstance(text, str):
        return "its architecture is no text"
    try:
        architecture = Architecture.parse(text)
    except ValueError as error:
        return plain(str(error))
    if architecture.space != space:
        return f"its architecture is of space {architecture.space}, not {space}"
    return None
