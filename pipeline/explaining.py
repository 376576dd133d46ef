"""Mistakes in settings, in one line each that shows no password."""

from __future__ import annotations

import difflib
from collections.abc import Sequence
from typing import Any

from pydantic import BaseModel, SecretStr, ValidationError

from ..common.text import plain

_LONGEST = 80  # of a value that is shown


def explain(error: ValidationError, configuration: type[BaseModel]) -> str:
    """The first mistake: where, what is wrong with it and, where it cannot be a secret, what was given."""
    mistake = error.errors(include_url=False)[0]
    location = mistake["loc"]
    named = [str(part) for part in location if not str(part).startswith("function-")]  # how pydantic calls a kind
    where = plain(".".join(named))
    if mistake["type"] == "extra_forbidden":
        return f"unknown key '{where}'{nearest(str(location[-1]), _keys_beside(location, configuration))}"
    message = mistake["msg"].removeprefix("Value error, ")
    if not where or mistake["type"] == "missing":
        return f"{where}: {message}" if where else message
    return f"{where}: {message} (got {_shown(mistake['input'], may_be_secret(location, configuration))})"


def nearest(name: str, names: Sequence[str]) -> str:
    """The valid name that is closest to a wrong one, or all."""
    close = difflib.get_close_matches(name[:_LONGEST], names, n=1, cutoff=0.5)
    return f": did you mean '{close[0]}'?" if close else f": choose from {', '.join(names)}"


def _shown(value: Any, secret: bool) -> str:
    if isinstance(value, bool | int | float | None):
        text = repr(value)
    elif isinstance(value, str) and not secret:
        text = plain(repr(value))
    else:
        return {str: "a text", dict: "a section", list: "a list"}.get(type(value), "something else")
    return text if len(text) <= _LONGEST else f"{text[:_LONGEST]}..."


def may_be_secret(location: Sequence[int | str], configuration: type[BaseModel]) -> bool:
    """Whether a secret is at a place, above it or below it."""
    here: Any = configuration
    for part in location:
        fields = getattr(here, "model_fields", {})
        if part not in fields:
            return False  # inside a list or mapping
        here = fields[part].annotation
        if "SecretStr" in repr(here):
            return True
    return _holds_a_secret(here)


def _holds_a_secret(section: Any) -> bool:
    fields = getattr(section, "model_fields", {}).values()
    return any(SecretStr.__name__ in repr(field.annotation) or _holds_a_secret(field.annotation) for field in fields)


def _keys_beside(location: Sequence[int | str], configuration: type[BaseModel]) -> list[str]:
    """Valid names where an unknown key stood."""
    section: Any = configuration
    for part in location[:-1]:
        section = section.model_fields[str(part)].annotation
    return list(section.model_fields)
