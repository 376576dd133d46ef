"""What the pages say that can be wrong: each function answers with what is, in one line each."""

from __future__ import annotations

import re
import shlex
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import typer.main
from fairnas.pipeline.cli.app import app

ROOT = Path(__file__).parents[2]
FOLDERS = ("common", "models", "latency_tables", "exporters", "pipeline", "experiments", "results", "tests", "docs")
# What a command leaves that nobody has committed.
LEFT_BY_COMMANDS = ("results/export_sweep.json",)
FENCE = re.compile(r"^(?P<mark> *```)(?P<language>\w*)\n(?P<code>.*?)^\1$", re.DOTALL | re.MULTILINE)
RUN = "<!-- run -->\n"
SHELLS = ("sh", "bash", "console")
MORE = re.compile(r"[|;&]+|\d?[<>].*|\.\.\.")  # where a command ends


@dataclass(frozen=True)
class Block:
    """A block of code, and whether a page says that it can be run."""

    language: str
    code: str
    is_run: bool = False


def pages(root: Path = ROOT) -> list[Path]:
    """Everything that people read."""
    return [*sorted(root.glob("*.md")), *sorted((root / "docs").rglob("*.md"))]


def blocks(text: str) -> list[Block]:
    """Blocks of code, in order."""
    return [
        Block(found["language"], found["code"], text[: found.start()].endswith(RUN)) for found in FENCE.finditer(text)
    ]


def prose(text: str) -> str:
    """What is no block of code."""
    return FENCE.sub("", text)


def quoted(text: str) -> list[str]:
    """What stands in backticks."""
    return re.findall(r"`([^`\n]+)`", prose(text))


def anchors(text: str) -> set[str]:
    """Of the headings, as Python-Markdown and GitHub make them."""
    found = set[str]()
    for heading in re.findall(r"^#+ +(.*)$", prose(text), re.MULTILINE):
        anchor = slug = re.sub(r"\s+", "-", re.sub(r"[^\w\s-]", "", heading.lower()).strip())
        number = 0
        while anchor in found:
            number += 1
            anchor = f"{slug}_{number}"
        found.add(anchor)
    return found


def broken_links(page: Path, text: str) -> Iterator[str]:
    """Links and pictures that lead nowhere."""
    for link in re.findall(r"\]\(([^)\s]+)\)", re.sub(r"`[^`\n]+`", "``", prose(text))):
        if re.match(r"[a-z]+:", link):
            continue
        name, _, anchor = link.partition("#")
        target = page.parent / name if name else page
        if not target.is_file():
            yield f"there is no {link}"
        elif anchor and anchor not in anchors(text if target == page else target.read_text()):
            yield f"{name or 'this page'} has no heading #{anchor}"


def missing_paths(text: str, root: Path = ROOT) -> Iterator[str]:
    """Paths of the repository that are not there; words in capitals stand for any name."""
    for path in quoted(text):
        if not re.fullmatch(rf"(?:{'|'.join(FOLDERS)})/[\w./*-]*", path) or path in LEFT_BY_COMMANDS:
            continue
        pattern = re.sub(r"\b[A-Z]{3,}\b", "*", path.rstrip("/"))
        if not any(root.glob(pattern)):
            yield f"there is no {path}"


def uncompiled(text: str) -> Iterator[str]:
    """Python that is none."""
    for block in blocks(text):
        if block.language == "python":
            try:
                compile(block.code, "a block", "exec")
            except SyntaxError as error:
                yield f"{error.msg}: {(error.text or '').strip()}"


def shell_lines(text: str) -> list[str]:
    """Command lines of the blocks, and those in backticks."""
    lines = [
        line.split("  #")[0].split(" # ")[0]
        for block in blocks(text)
        if block.language in SHELLS
        for line in block.code.replace("\\\n", " ").splitlines()
        if not line.lstrip().startswith("#")
    ]
    return lines + [each for each in quoted(text) if re.match(r"(\.venv/bin/)?fairnas [a-z]|make [a-z]|--set ", each)]


def _words(line: str) -> list[str]:
    try:
        return shlex.split(line)
    except ValueError:
        return line.split()


def _fairnas(line: str) -> list[str] | None:
    """Arguments of the `fairnas` in a line; None where there is none."""
    words = _words(line)
    for place, word in enumerate(words):
        if word in ("fairnas", ".venv/bin/fairnas", "fairnas.pipeline.cli") and words[place - 1 : place] != ["install"]:
            after = words[place + 1 :]
            end = next((number for number, each in enumerate(after) if MORE.fullmatch(each)), len(after))
            return after[:end]
    return None


def wrong_commands(text: str) -> Iterator[str]:
    """`fairnas` lines that the command line would refuse."""
    inline = set(quoted(text))
    for line in shell_lines(text):
        arguments = _fairnas(line)
        if arguments and arguments[0] != "COMMAND" and (complaint := _refused(arguments, line in inline)):
            yield f"{line.strip()}: {complaint}"


def _refused(arguments: list[str], is_named: bool) -> str | None:
    """Why a command line does not parse; one that is only named need not be complete."""
    command: Any = typer.main.get_command(app)
    while hasattr(command, "commands"):
        name, *arguments = arguments or [""]
        if name.startswith("--") and not arguments:
            return None if name in ("--version", "--help") else f"no option {name}"
        if name not in command.commands:
            return f"no command '{name}'"
        command = command.commands[name]
    if is_named or arguments == ["--help"]:
        options = {option for each in command.params for option in (*each.opts, *each.secondary_opts)} | {"--help"}
        given = [each.partition("=")[0] for each in arguments if each.startswith("--")]
        return next((f"no option {each}" for each in given if each not in options), None)
    try:
        command.make_context("fairnas", arguments)
    except Exception as error:  # click's, of which typer has one of its own
        return error.format_message() if hasattr(error, "format_message") else str(error)  # pyright: ignore[reportAttributeAccessIssue]
    return None


def unknown_settings(text: str, known: Collection[str], is_open: Collection[str]) -> Iterator[str]:
    """Keys of `--set`, `SET=` and of words in backticks that are no settings.

    Args:
        text: of a page.
        known: all settings and sections.
        is_open: those that hold keys that nobody knows beforehand.
    """
    given = [key for line in shell_lines(text) for key in re.findall(r"--set[ =]['\"]?([\w.]+)=", line)]
    for values in re.findall(r"SET=\"([^\"]*)\"", text):
        given += [value.partition("=")[0] for value in values.split()]
    sections = "|".join({key.partition(".")[0] for key in known if "." in key})
    given += [found[1] for each in quoted(text) if (found := re.fullmatch(rf"((?:{sections})\.[\w.]+)(=.*)?", each))]
    for key in given:
        if key in ("KEY", "key") or key.endswith((".py", ".json", ".yaml", ".md", ".csv")):
            continue
        if key not in known and key.rpartition(".")[0] not in is_open:
            yield f"there is no setting {key}"


def unknown_targets(text: str, makefile: str) -> Iterator[str]:
    """Targets and variables of `make` lines that the Makefile does not have."""
    targets = set(re.findall(r"^([a-z][\w-]*):", makefile, re.MULTILINE))
    settable = set(re.search(r"^SETTABLE := ((?:.*\\\n)*.*)$", makefile, re.MULTILINE)[1].split())  # pyright: ignore[reportOptionalSubscript]
    for line in shell_lines(text):
        words = _words(line)
        if "make" not in words:
            continue
        for word in words[words.index("make") + 1 :]:
            if MORE.fullmatch(word):
                break
            name, is_variable, _ = word.partition("=")
            if name not in (settable if is_variable else targets) and not name.endswith("*"):
                yield f"make has no {word}"
