"""Answers of commands: text and tables for people, JSON for programs."""

from __future__ import annotations

from collections.abc import Mapping
from importlib.metadata import version
from typing import TYPE_CHECKING, Any

import typer
from rich.table import Table

from ...common.text import shown
from ..console import console
from .streams import print_json, print_text

if TYPE_CHECKING:
    from ..pipeline import Pipeline


WITHHELD = 3  # exit code: some of what was asked for is not there


def print_answer(as_json: bool, value: Any, text: str) -> None:
    """One answer, as JSON or in words."""
    if as_json:
        print_json(value)
    else:
        print_text(text)


def print_version(wanted: bool) -> None:
    """Of fairnas, and nothing else."""
    if wanted:
        print_text(f"fairnas {version('fairnas')}")
        raise typer.Exit


def print_table(as_json: bool, rows: list[dict[str, Any]], columns: tuple[str, ...]) -> None:
    """Rows, as JSON or as a table of some columns."""
    if as_json:
        print_json(rows)
        return
    table = Table()
    for column in columns:
        table.add_column(column, overflow="fold")
    for row in rows:
        table.add_row(*(shown(_cell(row[column])) for column in columns))
    type(console)().print(table)


def _cell(value: Any) -> str:
    if isinstance(value, list):
        return ", ".join(map(str, value))
    return f"{value:,}" if isinstance(value, int) else str(value)


def print_exports(work: Pipeline, names: list[str], as_json: bool, refused: Mapping[str, str] | None = None) -> bool:
    """Print what was exported; returns whether a format that was asked for is not there."""
    from ..export.table import read_passports, show_exports, withheld

    passports = read_passports(work.run.folder, [name for name in names if name not in (refused or {})])
    if as_json:
        answer: dict[str, Any] = {"run": str(work.run.folder), "exported": passports}
        print_json(answer | ({"refused": dict(refused)} if refused else {}))
    else:
        show_exports(work.run.folder, passports)
    return withheld(passports)
