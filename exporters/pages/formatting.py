"""Numbers for people. Every function takes what a file may hold, and answers a dash for what is not a number."""

from __future__ import annotations

import math
import re
from datetime import UTC, datetime
from typing import Any

NOTHING = "\N{EN DASH}"


def number(value: Any) -> float | None:
    """The value as a finite float, or None: text, booleans, NaN and infinities are no numbers to show."""
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        return None
    try:
        result = float(value)
    except (ValueError, OverflowError):
        return None
    return result if math.isfinite(result) else None


def as_numbers(values: Any) -> list[float]:
    """The numbers of a list; none where it holds anything else."""
    found = [number(value) for value in values] if isinstance(values, list) else []
    return [] if None in found else [value for value in found if value is not None]


def count(value: Any) -> str:
    """`1234567` as `1,234,567`."""
    found = number(value)
    return NOTHING if found is None else f"{found:,.0f}"


def percent(value: Any, digits: int = 1) -> str:
    """The fraction 0.9312 as `93.1%`."""
    found = number(value)
    return NOTHING if found is None else f"{found * 100:.{digits}f}%"


def milliseconds(value: Any) -> str:
    """Milliseconds to three significant digits, never in exponent form."""
    found = number(value)
    return NOTHING if found is None else f"{_three_digits(found)} ms"


def millions(value: Any) -> str:
    """`388123456` as `388.1 M`, and smaller ones with the digits they need."""
    found = number(value)
    if found is None:
        return NOTHING
    return f"{found / 1e6:.1f} M" if found >= 1e8 else f"{_three_digits(found / 1e6)} M"


def size(value: Any) -> str:
    """Bytes in decimal units, as a download page would say it."""
    found = number(value)
    if found is None:
        return NOTHING
    for unit, factor in (("GB", 1e9), ("MB", 1e6), ("kB", 1e3)):
        if found >= factor:
            return f"{_three_digits(found / factor)} {unit}"
    return f"{found:.0f} B"


def duration(value: Any) -> str:
    """Seconds as `0.4 s`, `12 s`, `3 min 20 s` or `2 h 05 min`."""
    found = number(value)
    if found is None:
        return NOTHING
    if found < 9.95:
        return f"{found:.1f} s"
    seconds = round(found)
    if seconds < 60:
        return f"{seconds} s"
    if seconds < 3600:
        return f"{seconds // 60} min {seconds % 60:02d} s"
    minutes = round(found / 60)
    return f"{minutes // 60} h {minutes % 60:02d} min"


def moment(value: Any) -> str:
    """A time as `2026-05-01 14:03 UTC`, from ISO 8601 text or seconds since 1970; other text stays as it is."""
    try:
        seconds = number(value)
        when = datetime.fromisoformat(str(value)) if seconds is None else datetime.fromtimestamp(seconds, UTC)
    except (ValueError, OverflowError, OSError):
        return str(value)
    zone = "" if when.tzinfo is None else " UTC"
    return f"{when.astimezone(UTC) if zone else when:%Y-%m-%d %H:%M}{zone}"


def difference(value: Any) -> str:
    """A numerical error such as `3.1e-06`; exactly zero is `0`."""
    found = number(value)
    if found is None:
        return NOTHING
    return "0" if found == 0 else f"{found:.1e}"


def digest(value: Any) -> str:
    """The first ten characters of a hash."""
    return str(value).removeprefix("sha256:")[:10] if value else NOTHING


def architecture_lines(text: str, per_line: int = 7) -> list[str]:
    """An architecture's text in lines short enough for a label on a plot: `b:E3K7-...` broken between blocks."""
    head, _, blocks = text.rpartition(":")
    names = blocks.split("-")
    lines = ["-".join(names[start : start + per_line]) for start in range(0, len(names), per_line)]
    return [f"{head}:{lines[0]}" if head else lines[0], *lines[1:]]


def architecture_blocks(text: str) -> list[tuple[int, int]]:
    """(expansion, kernel) of every layer named in an architecture's text; empty where it is of another form."""
    blocks = re.sub(r"\+.*$", "", text.rpartition(":")[2]).split("-")
    matches = [re.fullmatch(r"E(\d+)K(\d+)", block) for block in blocks]
    return [(int(match[1]), int(match[2])) for match in matches if match] if all(matches) else []


def _three_digits(value: float) -> str:
    magnitude = abs(value)
    if magnitude >= 100:
        return f"{value:,.0f}"
    if magnitude >= 10:
        return f"{value:.1f}"
    return f"{value:.2f}" if magnitude >= 1 else f"{value:.3f}"
