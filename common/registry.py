"""Explicit lists of things by the names that people give them: who wants the names need not wait for the things."""

from __future__ import annotations

import importlib
from collections.abc import Iterator, MutableMapping
from typing import TypeVar, cast

from .lazy import imported_for_types

T = TypeVar("T")


class Registry(MutableMapping[str, T]):
    """The things that a module lists, in its order; each is imported when it is asked for.

    An entry is a line below `if TYPE_CHECKING:` in that module, `from .file import thing as name`. A dash of the name
    is an underscore there. What is imported under the name that it has already is no entry.

    Args:
        package: the module's `__package__`.
        file: its `__file__`.
    """

    def __init__(self, package: str | None, file: str) -> None:
        self._package = package
        self._homes = {
            name.replace("_", "-"): home for name, home in imported_for_types(file).items() if name != home[1]
        }
        self._things: dict[str, T] = {}

    def __getitem__(self, name: str) -> T:
        if name not in self._things:
            module, attribute = self._homes[name]
            self._things[name] = cast(T, getattr(importlib.import_module(module, self._package), attribute))
        return self._things[name]

    def __setitem__(self, name: str, thing: T) -> None:
        self._homes.setdefault(name, ("", ""))
        self._things[name] = thing

    def __delitem__(self, name: str) -> None:
        del self._homes[name]
        self._things.pop(name, None)

    def __contains__(self, name: object) -> bool:
        return name in self._homes  # without importing it

    def __iter__(self) -> Iterator[str]:
        return iter(self._homes)

    def __len__(self) -> int:
        return len(self._homes)
