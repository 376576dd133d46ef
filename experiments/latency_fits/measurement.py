"""Blocks that somebody measured, and the CSV files that they come in."""

from __future__ import annotations

import csv
import math
from collections.abc import Callable, Hashable
from dataclasses import dataclass
from pathlib import Path
from typing import TypeAlias, TypeVar

from ...latency_tables.block_features import Features
from ...latency_tables.errors import LatencyError
from ...models import Block

Row: TypeAlias = dict[str, str]

_Parsed = TypeVar("_Parsed")


@dataclass(frozen=True, slots=True)
class Measurement:
    """A measured block.

    Attributes:
        block: the block, for its sizes; what our blocks do not have (grouped convolutions) is only in `features`.
        features: what its price is made of.
        latency_ms: the measured mean.
        group: measurements of one group are held out together.
        kind: errors are also reported for each kind.
    """

    block: Block
    features: Features
    latency_ms: float
    group: Hashable
    kind: str


def read_rows(path: Path, parse: Callable[[Row], _Parsed]) -> list[_Parsed]:
    """Read a CSV file with a header, row by row.

    Args:
        path: the file.
        parse: makes something of a row; `KeyError`, `TypeError` and `ValueError` say that it cannot.

    Raises:
        LatencyError: the file cannot be read, or a row is not understood.
    """
    try:
        with path.open(newline="", encoding="utf-8") as file:
            rows = list(csv.DictReader(file))
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise LatencyError(f"cannot read measurements {path}: {error}; name the folder with --data") from error
    parsed: list[_Parsed] = []
    for number, row in enumerate(rows, start=2):
        try:
            parsed.append(parse(row))
        except (KeyError, TypeError, ValueError) as error:
            raise LatencyError(f"{path}, line {number}: not a measured block ({error!r}); restore the file") from error
    if not parsed:
        raise LatencyError(f"{path} has no measurements: restore the file")
    return parsed


def integer(row: Row, column: str) -> int:
    """A whole number, as these files write it: `3` or `3.0`."""
    value = float(row[column])
    if value != int(value):
        raise ValueError(f"{column} is {row[column]}")
    return int(value)


def milliseconds(row: Row, column: str) -> float:
    """A latency: relative errors need it to be positive."""
    value = float(row[column])
    if not (math.isfinite(value) and value > 0):
        raise ValueError(f"{column} is {row[column]}")
    return value
