"""Reading what somebody else may have written: only regular files, of a bounded size, and only plain values."""

from __future__ import annotations

import json
import os
import stat
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NoReturn

import yaml

from .errors import UnreadableFile
from .text import plain

LARGEST_TEXT = 64 << 20  # of a JSON, YAML or CSV file, in bytes
_DEEPEST = 64  # lists and mappings inside one another
_LONGEST_NUMBER = 400  # digits; Python itself gives up at 4,300, with an error of its own


def read_bytes(path: Path, largest: int = LARGEST_TEXT) -> bytes:
    """Content of a regular file.

    Never waits: a FIFO or device in its place is refused, not opened for reading.

    Raises:
        UnreadableFile: it is missing, no regular file, too large, or the system refuses.
    """
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
        with os.fdopen(descriptor, "rb") as file:
            facts = os.fstat(descriptor)
            if not stat.S_ISREG(facts.st_mode):
                raise UnreadableFile(f"{plain(str(path))} is not a regular file")
            if facts.st_size > largest:
                raise UnreadableFile(f"{plain(str(path))} is too large: {facts.st_size:,} bytes of at most {largest:,}")
            return file.read()
    except FileNotFoundError:
        raise UnreadableFile(f"{plain(str(path))} does not exist") from None
    except (OSError, ValueError) as error:
        if isinstance(error, UnreadableFile):
            raise
        reason = error.strerror if isinstance(error, OSError) else str(error)
        raise UnreadableFile(f"cannot read {plain(str(path))}: {reason}") from None


def check_regular_file(path: Path) -> None:
    """Refuse, before a library opens it, what it would wait for or not be able to read.

    Raises:
        UnreadableFile: it is missing, or no regular file.
    """
    try:
        facts = path.stat()
    except FileNotFoundError:
        raise UnreadableFile(f"{plain(str(path))} does not exist") from None
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) else str(error)
        raise UnreadableFile(f"cannot read {plain(str(path))}: {reason}") from None
    if not stat.S_ISREG(facts.st_mode):
        kind = "a folder" if stat.S_ISDIR(facts.st_mode) else "not a regular file"
        raise UnreadableFile(f"{plain(str(path))} is {kind}")


def read_text(path: Path, largest: int = LARGEST_TEXT) -> str:
    """The same as text.

    Raises:
        UnreadableFile: as `read_bytes`, or it is not UTF-8.
    """
    try:
        return read_bytes(path, largest).decode()
    except UnicodeDecodeError:
        raise UnreadableFile(f"{plain(str(path))} is not UTF-8 text") from None


def read_json(path: Path, largest: int = LARGEST_TEXT) -> Any:
    """A JSON file's value.

    Raises:
        UnreadableFile: as `read_text`, or it is not JSON (NaN and infinity are not), nests too deeply, or has a key
            twice.
    """
    return parse_json(read_text(path, largest), plain(str(path)))


def parse_json(text: str, what: str) -> Any:
    """The value of a JSON text; `what` it is, for the error."""
    try:
        value = json.loads(
            text, parse_constant=_refuse_constant, object_pairs_hook=_without_repetition, parse_int=_bounded_integer
        )
        _check_depth(value)
    except RecursionError:
        raise UnreadableFile(f"{what} is damaged: it nests too deeply") from None
    except ValueError as error:
        raise UnreadableFile(f"{what} is damaged: {plain(str(error))}") from None
    return value


def read_object(path: Path, largest: int = LARGEST_TEXT) -> dict[str, Any]:
    """A JSON file that holds an object.

    Raises:
        UnreadableFile: as `read_json`, or it holds something else.
    """
    value = read_json(path, largest)
    if not isinstance(value, dict):
        raise UnreadableFile(f"{plain(str(path))} is damaged: expected an object")
    return value


def read_yaml(path: Path, largest: int = LARGEST_TEXT) -> Any:
    """A YAML file's value, plain values only.

    Raises:
        UnreadableFile: as `read_text`, or it is not the YAML that `parse_yaml` takes.
    """
    return parse_yaml(read_text(path, largest), plain(str(path)))


def parse_yaml(text: str, what: str) -> Any:
    """The value of a YAML text: no tags, no aliases (a few lines of them stand for gigabytes), no key twice.

    Raises:
        UnreadableFile: it is something else; the error names `what` it is, the line and the reason.
    """
    try:
        return yaml.load(text, Loader=_PlainLoader)
    except RecursionError:
        raise UnreadableFile(f"{what} is not valid YAML: it nests too deeply") from None
    except (yaml.YAMLError, ValueError, OverflowError) as error:
        mark = getattr(error, "problem_mark", None)
        line = f"line {mark.line + 1}: " if mark is not None and "\n" in text.strip() else ""
        problem = getattr(error, "problem", None) or " ".join(str(error).split())
        raise UnreadableFile(f"{what} is not valid YAML: {line}{plain(problem)}") from None


class _PlainLoader(yaml.SafeLoader):
    """YAML's mappings, lists, texts, numbers, booleans and null."""

    _depth = 0

    def compose_node(self, parent: yaml.Node | None, index: int) -> yaml.Node | None:
        event = self.peek_event()
        if isinstance(event, yaml.AliasEvent) or getattr(event, "anchor", None) is not None:
            raise yaml.constructor.ConstructorError(None, None, "anchors and aliases are not used", event.start_mark)
        if getattr(event, "tag", None) is not None:
            raise yaml.constructor.ConstructorError(None, None, "tags are not used", event.start_mark)
        if self._depth >= _DEEPEST:
            raise yaml.constructor.ConstructorError(None, None, "it nests too deeply", event.start_mark)
        self._depth += 1
        try:
            return super().compose_node(parent, index)
        finally:
            self._depth -= 1

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        seen: set[str] = set()
        for key, _ in node.value:
            if not isinstance(key, yaml.ScalarNode):
                raise yaml.constructor.ConstructorError(None, None, "a key must be a word", key.start_mark)
            if key.value in seen:
                raise yaml.constructor.ConstructorError(
                    None, None, f"the key '{key.value}' is there twice", key.start_mark
                )
            seen.add(key.value)
        return super().construct_mapping(node, deep)

    def construct_yaml_int(self, node: yaml.ScalarNode) -> int:
        if len(node.value) > _LONGEST_NUMBER:
            raise yaml.constructor.ConstructorError(None, None, "a number is too long", node.start_mark)
        return super().construct_yaml_int(node)


_PlainLoader.add_constructor("tag:yaml.org,2002:int", _PlainLoader.construct_yaml_int)
# Dates stay the texts that they were written as: no setting is one, and impossible ones are no error of the reader's.
_PlainLoader.yaml_implicit_resolvers = {
    first: [(tag, pattern) for tag, pattern in resolvers if tag != "tag:yaml.org,2002:timestamp"]
    for first, resolvers in yaml.SafeLoader.yaml_implicit_resolvers.items()
}


def _refuse_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is no JSON number")


def _without_repetition(pairs: list[tuple[str, Any]]) -> Mapping[str, Any]:
    value = dict(pairs)
    if len(value) < len(pairs):
        raise ValueError("a key is there twice")
    return value


def _bounded_integer(digits: str) -> int:
    if len(digits) > _LONGEST_NUMBER:
        raise ValueError("a number is too long")
    return int(digits)


def _check_depth(value: Any) -> None:
    level, depth = [value], 0
    while level:
        depth += 1
        if depth > _DEEPEST:
            raise ValueError("it nests too deeply")
        level = [
            child
            for each in level
            if isinstance(each, dict | list)
            for child in (each.values() if isinstance(each, dict) else each)
        ]
