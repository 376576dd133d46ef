"""Writes the pages that the code itself tells: every setting and every command.

`python docs/generate.py` writes them again; `make docs` does that first.
"""

from __future__ import annotations

import inspect
import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import typer.main
from fairnas.pipeline.cli.app import app
from fairnas.pipeline.config import Config
from pydantic import BaseModel

DOCS = Path(__file__).parent
WRITTEN = "<!-- Written by docs/generate.py, never by hand. -->"
EXAMPLES = ("fairnas ", "torchrun ", "optuna-dashboard ", "make ")  # lines of help that are commands
LIMITS = {"minimum": "at least", "exclusiveMinimum": "above", "maximum": "at most", "exclusiveMaximum": "below"}
UNLIMITED = (2**31 - 1, 1e12)  # what every count and every number is below


@dataclass(frozen=True)
class Setting:
    """A key of the configuration.

    Attributes:
        key: as `--set` takes it.
        kind: its type, for people.
        default: as YAML takes it; None where a preset must say it.
        text: what it decides.
        is_open: whether it holds keys of its own, which nobody knows beforehand.
    """

    key: str
    kind: str
    default: str | None
    text: str
    is_open: bool


@dataclass(frozen=True)
class Part:
    """A section of the configuration: its own settings, without those of the sections in it."""

    key: str
    text: str
    settings: tuple[Setting, ...]


def parts() -> list[Part]:
    """All sections, the whole first."""
    return list(_parts("", Config, {}))


def _parts(key: str, section: type[BaseModel], given: Mapping[str, Any]) -> Iterator[Part]:
    """A section and those in it; `given` are defaults that the section around it has for its keys."""
    schema = section.model_json_schema()
    settings, inner = list[Setting](), list[tuple[str, type[BaseModel], Mapping[str, Any]]]()
    for name, field in section.model_fields.items():
        dotted = f"{key}.{name}".lstrip(".")
        stated = schema["properties"][name] | ({"default": given[name]} if name in given else {})
        if isinstance(field.annotation, type) and issubclass(field.annotation, BaseModel):
            inner.append((dotted, field.annotation, stated.get("default", {})))
        else:
            settings.append(_setting(dotted, stated, [each.le for each in field.metadata if hasattr(each, "le")]))
    yield Part(key, schema.get("description", ""), tuple(settings))
    for dotted, each, defaults in inner:
        yield from _parts(dotted, each, defaults)


def _setting(key: str, stated: Mapping[str, Any], upper: Sequence[float]) -> Setting:
    """A setting, of its JSON schema, which states only one of several upper limits."""
    if upper and stated.get("maximum", 0) > min(upper):
        stated = {**stated, "maximum": min(upper)}
    default = json.dumps(stated["default"]) if "default" in stated else None
    return Setting(key, _kind(stated), default, stated.get("description", ""), stated.get("type") == "object")


def _kind(field: Mapping[str, Any]) -> str:
    """A type in words, such as `whole number, at least 1`."""
    if "anyOf" in field:
        first, *_ = (each for each in field["anyOf"] if each.get("type") != "null")
        return f"{_kind(first)}; or empty"
    if "enum" in field:
        return "one of " + ", ".join(f"`{each}`" for each in field["enum"])
    kind = field.get("type")
    if kind == "array":
        items = field.get("prefixItems")
        return f"{len(items)} values, each: {_kind(items[0])}" if items else f"list, each: {_kind(field['items'])}"
    if kind == "object":
        values = field["additionalProperties"]
        return "by name" + (f": {_kind(values)}" if isinstance(values, dict) and "anyOf" not in values else "")
    names = {"integer": "whole number", "number": "number", "boolean": "`true` or `false`", "string": "text"}
    limits = [
        f"{word} {_number(field[name])}"
        for name, word in LIMITS.items()
        if field.get(name, UNLIMITED[0]) not in UNLIMITED
    ]
    return ", ".join([names[str(kind)], *limits])


def _number(value: float) -> str:
    return f"{int(value):,}" if value == int(value) else f"{value:g}"


def configuration() -> str:
    """The page of all settings."""
    lines = [
        "# Which settings are there?",
        WRITTEN,
        "Each is a key of a preset's YAML file, and of `--set KEY=VALUE`. What has no default, the preset says; a "
        "wrong key is answered with the nearest one, and a value out of range is refused.",
    ]
    for part in parts():
        if part.key:
            lines.append(f"{'#' * (part.key.count('.') + 2)} {part.key}")
        lines.append(_joined(part.text))
        rows = [
            [f"`{each.key}`", each.kind, "" if each.default is None else f"`{each.default}`", each.text]
            for each in part.settings
        ]
        lines.append(table(["key", "type", "default", "decides"], rows))
    return "\n\n".join(lines) + "\n"


def commands() -> str:
    """The page of all commands."""
    group: Any = typer.main.get_command(app)
    context = group.make_context("fairnas", ["models"])
    lines = ["# Which commands are there?", WRITTEN, _joined(group.help)]
    lines.append(
        "`fairnas COMMAND --help` says the same. The exit code is 0; 2 after a mistake, 3 where a format was withheld, "
        "75 after an agreed pause, 130 after Ctrl-C."
    )
    for name, command in sorted(group.commands.items()):
        lines += _command(f"fairnas {name}", command, context)
    return "\n\n".join(lines) + "\n"


def _command(name: str, command: Any, parent: Any) -> Iterator[str]:
    context = parent.__class__(command, info_name=name.split()[-1], parent=parent)
    yield f"## {name}"
    yield _help(command.help or "")
    for inner_name, inner in sorted(getattr(command, "commands", {}).items()):
        yield from _command(f"{name} {inner_name}", inner, context)
    if hasattr(command, "commands"):
        return
    yield "```text\n" + " ".join([name, *command.collect_usage_pieces(context)]) + "\n```"
    records = [(each.get_help_record(context), each) for each in command.params]
    rows = [[f"`{record[0]}`", _joined(record[1])] for record, _ in records if record is not None]
    yield table(["argument or option", "what it does"], rows)


def _help(text: str) -> str:
    """A command's help, with its examples as code."""
    paragraphs = re.split(r"\n\s*\n", inspect.cleandoc(text))
    return "\n\n".join(f"```sh\n{each}\n```" if each.startswith(EXAMPLES) else _joined(each) for each in paragraphs)


def _joined(text: str) -> str:
    return " ".join(text.split()).replace("<", "&lt;")


def table(header: list[str], rows: list[list[str]]) -> str:
    """Markdown; what stands in a cell cannot end it."""
    cells = [header, ["---"] * len(header), *([cell.replace("|", "\\|") for cell in row] for row in rows)]
    return "\n".join(f"| {' | '.join(row)} |" for row in cells)


PAGES = {"configuration.md": configuration, "commands.md": commands}
"""What writes each generated page."""


def main() -> None:
    """Write all generated pages."""
    for name, page in PAGES.items():
        (DOCS / name).write_text(page())


if __name__ == "__main__":
    main()
