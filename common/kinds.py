"""Kinds of values that settings have. They are strict: `seed=true` is no seed, and `epochs=3.0` no count."""

from __future__ import annotations

import re
from collections.abc import Collection
from typing import Annotated, Any
from urllib.parse import parse_qsl, unquote, urlsplit

from pydantic import (
    AfterValidator,
    BeforeValidator,
    Field,
    GetCoreSchemaHandler,
    GetJsonSchemaHandler,
    SecretStr,
    Strict,
)
from pydantic_core import CoreSchema, PydanticCustomError, PydanticKnownError, core_schema

from .text import hide

_SECRET = re.compile(r"(?i)pass|pwd|secret|token|key")  # of a URL's query; others hold plain words, such as `require`


def _no_switch(value: Any) -> Any:
    if isinstance(value, bool):
        raise PydanticCustomError("float_type", "Input should be a valid number")
    return value


def _one_that_paths_can_hold(text: str) -> str:
    if "\0" in text:
        raise ValueError("it holds a NUL character")
    return text


def _never_shown(url: SecretStr) -> SecretStr:
    """Make its passwords unprintable, whoever quotes them: drivers do, in their errors."""
    text = url.get_secret_value()
    try:
        parts = urlsplit(text)
        passwords = [parts.password or "", *(value for key, value in parse_qsl(parts.query) if _SECRET.search(key))]
    except ValueError:  # no URL, which who uses it says
        passwords = [text]
    for password in passwords:
        hide(password)
        hide(unquote(password))
    return url


Whole = Annotated[int, Strict(), Field(le=2**31 - 1)]
"""A count or a seed; fields have narrower limits of their own."""

Number = Annotated[float, BeforeValidator(_no_switch), Field(le=1e12)]
"""As people write them: YAML takes `1e-3` for text."""

Switch = Annotated[bool, Strict()]

Text = Annotated[str, Field(min_length=1, max_length=4096), AfterValidator(_one_that_paths_can_hold)]

Secret = Annotated[SecretStr, AfterValidator(_never_shown)]
"""The URL of a database: never printed, never written."""


class OneOf:
    """Marks a text that must be one of these names: as a `Literal`, of a list that is not known to the type checker.

    Args:
        names: asked anew for each text, in the order in which they are shown.
    """

    def __init__(self, names: Collection[str]) -> None:
        self.names = names

    def __get_pydantic_core_schema__(self, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        """What pydantic validates with."""
        return core_schema.no_info_before_validator_function(self._known, handler(source))

    def __get_pydantic_json_schema__(self, schema: CoreSchema, handler: GetJsonSchemaHandler) -> dict[str, Any]:
        """What the text is in a JSON schema."""
        return {"enum": list(self.names), "type": "string"}

    def _known(self, value: Any) -> Any:
        if isinstance(value, str) and value in self.names:
            return value
        *first, last = (f"'{name}'" for name in self.names)
        raise PydanticKnownError("literal_error", {"expected": f"{', '.join(first)} or {last}" if first else last})
