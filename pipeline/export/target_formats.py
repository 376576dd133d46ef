"""Whether there are the formats that a target names: its file is read where formats are not known."""

from __future__ import annotations

from ...exporters.formats import format_names
from ...latency_tables.targets import Target
from ..errors import UserError
from ..explaining import nearest


def check_formats(target: Target) -> None:
    """Refuse a target that names a format that there is not.

    Raises:
        UserError: it does; the nearest one is given, or all.
    """
    for name in target.formats:
        if name not in format_names():
            raise UserError(f"target {target.name}: unknown format '{name}'{nearest(name, format_names())}")
