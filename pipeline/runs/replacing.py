"""What takes long to make again is only replaced when somebody says so."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from typing import Any

from ...common.files import sha256_json
from ...common.text import plain, shown
from ..console import console
from ..errors import UserError

FREE_SECONDS = 600  # what took no longer is replaced without a question


def ask(stage: str, why: str, seconds: float) -> None:
    """Ask on a terminal whether results that took long may be replaced; elsewhere nobody can say yes.

    Raises:
        UserError: the answer is no, or there is nobody to ask.
    """
    if seconds <= FREE_SECONDS:
        return
    fact = f"{plain(stage)}: {plain(why)}, and its earlier results took {in_words(seconds)}"
    if sys.stdin is not None and sys.stdin.isatty() and console.is_terminal:
        console.print(f"[yellow]{shown(fact)}[/]", soft_wrap=True)
        try:
            answer = console.input("replace them? [y/N] ", markup=False)
        except EOFError:
            answer = ""
        if answer.strip().lower() in ("y", "yes"):
            return
    raise UserError(f"{fact}: to replace them add --force {plain(stage)}, or name another folder with --run")


def what_changed(before: Mapping[str, Any], after: Mapping[str, Any]) -> str:
    """In words, why a finished stage no longer stands: settings and inputs by name, such as `supernet.lr`."""
    flat_before, flat_after = _flat(before), _flat(after)
    names = [*flat_after, *(name for name in flat_before if name not in flat_after)]
    changed = [name for name in names if _differs(flat_before, flat_after, name)]
    return f"{', '.join(changed) or 'configuration'} changed"


def in_words(seconds: float) -> str:
    """A duration as people say it."""
    minutes = round(seconds / 60)
    return f"{minutes} min" if minutes < 60 else f"{minutes // 60} h {minutes % 60} min"


def _differs(before: Mapping[str, Any], after: Mapping[str, Any], name: str) -> bool:
    return (name in before) != (name in after) or sha256_json(before.get(name)) != sha256_json(after.get(name))


def _flat(values: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    found: dict[str, Any] = {}
    for name, value in values.items():
        if isinstance(value, dict) and value:
            found |= _flat(value, f"{prefix}{name}.")
        else:
            found[f"{prefix}{name}"] = value
    return found
