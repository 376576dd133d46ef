"""Our networks among timm's, without importing timm, which takes seconds, before anybody needs it."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Sequence
from importlib.abc import Loader, MetaPathFinder
from importlib.machinery import ModuleSpec, PathFinder
from types import ModuleType

_NETWORKS = f"{__package__}.spaces.mobile.networks"  # registers them when it is imported


def register_with_timm() -> None:
    """Register now, if timm is there already, else right after it is imported."""
    if "timm" in sys.modules:
        importlib.import_module(_NETWORKS)
    else:
        sys.meta_path.insert(0, _AfterTimm())


class _AfterTimm(MetaPathFinder):
    """Finds timm as everybody does, with a loader that registers our networks in the end."""

    def find_spec(
        self, fullname: str, path: Sequence[str] | None = None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        if fullname != "timm":
            return None
        spec = PathFinder.find_spec(fullname, path, target)
        if spec is not None and spec.loader is not None:
            spec.loader = _Registering(self, spec.loader)
        return spec


class _Registering(Loader):
    def __init__(self, finder: _AfterTimm, loader: Loader) -> None:
        self._finder, self._loader = finder, loader

    def create_module(self, spec: ModuleSpec) -> ModuleType | None:
        return self._loader.create_module(spec)

    def exec_module(self, module: ModuleType) -> None:
        assert module.__spec__ is not None
        sys.meta_path.remove(self._finder)
        module.__spec__.loader = module.__loader__ = self._loader  # what reads its files asks for the real one
        self._loader.exec_module(module)
        importlib.import_module(_NETWORKS)
