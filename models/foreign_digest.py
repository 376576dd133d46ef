"""What a user's network is, as a digest: its weights, its structure and the code that it is made by."""

from __future__ import annotations

import hashlib
import random
import re
import sys
import sysconfig
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import torch
from torch import nn
from torch.nn.parameter import is_lazy

from .foreign import UserModel

_LIBRARIES = {Path(sysconfig.get_path(kind)).resolve() for kind in ("stdlib", "platstdlib", "purelib", "platlib")}
_ADDRESS = re.compile(r" at 0x[0-9a-f]+")  # of objects that a module shows of itself: another in each process
_INSTALLED = {"site-packages", "dist-packages"}  # also those of an environment that this one is made from


@contextmanager
def seeded(seed: int) -> Iterator[None]:
    """Random numbers that begin at a seed, in torch, NumPy and Python; afterwards they go on as before."""
    python, numpy = random.getstate(), np.random.get_state()
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        random.seed(seed)
        np.random.seed(seed % 2**32)
        try:
            yield
        finally:
            random.setstate(python)
            np.random.set_state(numpy)


def network_digest(source: UserModel, network: nn.Module) -> str:
    """Digest of everything that decides what a built network answers, as far as it can be seen.

    That is every tensor of it, its modules, and each file of the user's that its code comes from: the module that is
    named, and whatever that imports, but for installed packages.

    Args:
        source: what was built.
        network: with its weights.
    """
    found = hashlib.sha256()
    for name, tensor in network.state_dict(keep_vars=True).items():
        found.update(_bytes(name))
        if isinstance(tensor, torch.Tensor) and not is_lazy(tensor):
            found.update(_bytes(f"{tensor.dtype} {tuple(tensor.shape)}"))
            found.update(_content(tensor.detach()))
    graph = str(network.inlined_graph) if isinstance(network, torch.jit.ScriptModule) else repr(network)
    found.update(_bytes(_ADDRESS.sub("", graph)))
    for name, path in sorted(_files(source, network).items()):
        found.update(_bytes(name))
        found.update(path.read_bytes())
    return found.hexdigest()


def _content(tensor: torch.Tensor) -> bytes:
    try:
        return tensor.cpu().contiguous().reshape(-1).view(torch.uint8).numpy().tobytes()
    except (RuntimeError, TypeError):  # quantised or sparse
        return _bytes(_ADDRESS.sub("", repr(tensor)))


def _files(source: UserModel, network: nn.Module) -> dict[str, Path]:
    """The user's own files, by module: where classes of the network are from, and what these modules hold of others."""
    names = [source.module, *(type(module).__module__ for module in network.modules())]
    found: dict[str, Path] = {}
    seen: set[str] = set()
    while names:
        name = names.pop()
        if name in seen:
            continue
        seen.add(name)
        module = sys.modules.get(name)
        path = Path(str(getattr(module, "__file__", None) or ""))
        ours = name.partition(".")[0] == __name__.partition(".")[0]
        if ours or module is None or not path.is_file() or _is_installed(path.resolve()):
            continue
        found[name] = path
        names += [_home(value) for value in vars(module).values()]
    return found


def _is_installed(path: Path) -> bool:
    return not _INSTALLED.isdisjoint(path.parts) or any(path.is_relative_to(folder) for folder in _LIBRARIES)


def _home(value: Any) -> str:
    """The module that a value is from, or that it is."""
    try:
        name = value.__name__ if isinstance(value, ModuleType) else getattr(value, "__module__", "")
    except Exception:  # a stand-in for something that is not there
        return ""
    return name if isinstance(name, str) else ""


def _bytes(text: str) -> bytes:
    return text.encode("utf-8", "backslashreplace") + b"\0"
