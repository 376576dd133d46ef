"""Figures that a stage left in a JSON file. It may come with somebody else's run folder."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

from ...common.reading import read_object
from ...common.text import plain
from ..errors import UserError


def figures_of(path: Path, *names: str) -> dict[str, Any]:
    """The file's object, of which these figures are shown.

    Raises:
        UserError: one of them is missing or is no number.
        UnreadableFile: it is no JSON object.
    """
    values = read_object(path)
    for name in names:
        value = values.get(name)
        if not isinstance(value, int | float) or isinstance(value, bool) or not math.isfinite(value):
            raise UserError(f"{plain(str(path))} is damaged: {name} is no number; make its stage again with --force")
    return values
