"""The search spaces by name: a benchmark's is a module and a line here, a mobile one a YAML file and a line here."""
# ruff: noqa: F401, N811  (imports under another name are a list)

from __future__ import annotations

import importlib
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING

from ...common.registry import Registry

if TYPE_CHECKING:
    from .macro import MACRO as macro
    from .mobile.space import SearchSpace, read_space
    from .nasbench201 import NASBENCH201 as nasbench201
    from .space import Space

_FOLDER = Path(__file__).parent / "mobile"
MOBILE = {
    "a": _FOLDER / "a.yaml",
    "b": _FOLDER / "b.yaml",
}
"""The files of the mobile spaces, by name."""

BENCHMARKS: Registry[Space] = Registry(__package__, __file__)
"""Spaces of benchmarks, by name: to train supernets of and to rank."""


def any_space(name: str) -> Space:
    """A mobile space or a benchmark's.

    Raises:
        ValueError: there is no space of that name.
    """
    if name in BENCHMARKS:
        return BENCHMARKS[name]
    if name not in MOBILE:
        raise ValueError(f"unknown search space '{name}': choose from {', '.join([*MOBILE, *BENCHMARKS])}")
    return get_space(name)


def list_spaces() -> list[str]:
    """Names of the mobile spaces."""
    return list(MOBILE)


def get_space(name: str) -> SearchSpace:
    """A mobile space by name.

    Raises:
        ValueError: there is no such space, or its networks cannot be deployed.
    """
    if name in BENCHMARKS:
        raise ValueError(
            f"space '{name}' is a benchmark's, to train supernets of and to rank: to search and deploy, choose from "
            f"{', '.join(MOBILE)}"
        )
    if name not in MOBILE:
        raise ValueError(f"unknown search space '{name}': choose from {', '.join(MOBILE)}")
    return _read(name, MOBILE[name])


@lru_cache
def _read(name: str, path: Path) -> SearchSpace:
    # Like the others only now: spaces make architectures, and an architecture asks here for its space.
    return importlib.import_module(".mobile.space", __package__).read_space(name, path)
