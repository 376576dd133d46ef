"""Packages whose names are imported when they are asked for: who wants one name need not wait for torch."""

from __future__ import annotations

import ast
import importlib
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any


def lazy_names(package: str, file: str) -> Callable[[str], Any]:
    """A package's `__getattr__` (PEP 562): its names are those that it imports below `if TYPE_CHECKING:`.

    Args:
        package: its `__name__`.
        file: its `__file__`.
    """
    homes = imported_for_types(file)

    def find(name: str) -> Any:
        if name not in homes:
            raise AttributeError(f"module '{package}' has no attribute '{name}'")
        module, attribute = homes[name]
        value = getattr(importlib.import_module(module, package), attribute)
        setattr(sys.modules[package], name, value)  # the next time it is simply there
        return value

    return find


def imported_for_types(file: str) -> dict[str, tuple[str, str]]:
    """What a module imports below `if TYPE_CHECKING:`: by its name there, the module it comes from and its name there.

    Args:
        file: its `__file__`.
    """
    return {
        alias.asname or alias.name: ("." * node.level + (node.module or ""), alias.name)
        for block in ast.parse(Path(file).read_text(encoding="utf-8")).body
        if isinstance(block, ast.If)
        for node in block.body
        if isinstance(node, ast.ImportFrom)
        for alias in node.names
    }
