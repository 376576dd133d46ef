"""What architectures are truly worth: published tables, or accuracies of networks that were trained stand-alone."""

from __future__ import annotations

import csv
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ...common.files import sha256_file, sha256_json
from ...models import Architecture, Space
from ..errors import UserError

# Read without being named, in this order; a benchmark's other columns have to be asked for.
_USUAL_COLUMNS = ("accuracy", "mean_acc", "c10_test_200")


@dataclass(frozen=True)
class Truth:
    """True accuracies of architectures of one space.

    Attributes:
        source: facts about where they come from: `kind` (`table` or `trained`), and a file and column, or a recipe.
        accuracies: between 0 and 1, by architecture.
        digest: of what they were read from.
    """

    source: Mapping[str, Any]
    accuracies: Mapping[Architecture, float]
    digest: str


def read_truth(path: Path, column: str | None, space: Space) -> Truth:
    """Read a table with a header.

    Architectures stand in a column `architecture`, in our text form, or in a column `arch`, as NAS-Bench-201's and
    NAS-Bench-Macro's tables have them: one digit per place. Accuracies above 1 are percentages, then all are.

    Args:
        path: of a CSV file.
        column: which column holds accuracies; None takes `accuracy`, `mean_acc` or `c10_test_200`.
        space: what the architectures must belong to.

    Raises:
        UserError: no such file or column, an unknown architecture, the same one twice, or a value that is no accuracy.
    """
    try:
        with path.open(newline="", encoding="utf-8-sig") as file:
            reader = csv.DictReader(file)
            rows, columns = list(reader), list(reader.fieldnames or [])
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        reason = error.strerror if isinstance(error, OSError) else "it is not a CSV file in UTF-8"
        raise UserError(f"cannot read the truth table {path}: {reason}") from None
    named = next((name for name in ("architecture", "arch") if name in columns), None)
    if named is None:
        raise UserError(
            f"{path}: no column 'architecture' (text) or 'arch' (digits): the columns are {_listed(columns)}"
        )
    column = column or next((name for name in _USUAL_COLUMNS if name in columns), None)
    if column is None or column not in columns:
        wanted = "of accuracies is known: name one with --column" if column is None else f"'{column}'"
        raise UserError(f"{path}: no column {wanted}; the columns are {_listed(columns)}")
    accuracies: dict[Architecture, float] = {}
    for line, row in enumerate(rows, start=2):
        architecture = _architecture(row[named] or "", named, space, f"{path}, line {line}")
        if architecture in accuracies:
            raise UserError(f"{path}, line {line}: {row[named]} stands there a second time: keep one row for each")
        accuracies[architecture] = _accuracy(row[column], column, f"{path}, line {line}")
    if len(accuracies) < 2:
        raise UserError(f"{path}: a ranking needs at least 2 architectures, and the table has {len(accuracies)}")
    unit = 100.0 if max(accuracies.values()) > 1 else 1.0
    return Truth(
        {"kind": "table", "file": path.name, "column": column, "architectures": len(accuracies)},
        {architecture: value / unit for architecture, value in accuracies.items()},
        sha256_json([sha256_file(path), column]),
    )


def truth_of_trained(results: Sequence[Mapping[str, Any]], batch_size: int, images: int) -> Truth:
    """The truth as networks show it that were trained stand-alone.

    Args:
        results: content of each network's `result.json`; all were trained alike.
        batch_size: of the training.
        images: validation images.
    """
    accuracies = {Architecture.parse(result["architecture"]): float(result["val_top1"]) for result in results}
    recipe = {key: results[0][key] for key in ("epochs", "resolution", "width", "init")}
    return Truth(
        {"kind": "trained", "networks": len(results), **recipe, "batch_size": batch_size, "validation_images": images},
        accuracies,
        sha256_json({str(architecture): accuracy for architecture, accuracy in accuracies.items()}),
    )


def _architecture(text: str, column: str, space: Space, where: str) -> Architecture:
    try:
        architecture = space.from_table(text) if column == "arch" else Architecture.parse(text)
    except ValueError as error:
        raise UserError(f"{where}: {error}") from None
    if architecture.space != space.name or architecture.se_ratio:
        raise UserError(f"{where}: {text} is no path of a supernet of space {space.name}")
    return architecture


def _accuracy(text: str | None, column: str, where: str) -> float:
    try:
        value = float(text or "")
    except ValueError:
        value = math.nan
    if not 0 <= value <= 100:  # nan is neither
        raise UserError(f"{where}: {column} is '{text}': expected an accuracy, from 0 to 1 or to 100 (percent)")
    return value


def _listed(columns: list[str]) -> str:
    return ", ".join(columns) or "none: is there a header?"
