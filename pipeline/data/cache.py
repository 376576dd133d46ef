"""Where decoded images are kept between runs. Nothing depends on it: a missing or damaged cache is made anew."""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import os
import shutil
from collections.abc import Iterator, Mapping
from pathlib import Path

from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from ...common.errors import FairnasError
from ...common.files import sha256_json
from ...common.places import cache_root

LEFTOVERS = "images-*.partial"  # what is being written, up to 2 GiB


class DamagedCache(Exception):  # noqa: N818 - said as what it is
    """What was kept is not what was stored."""


def fetch(key: str) -> tuple[dict[str, Tensor], dict[str, str]] | None:
    """Tensors and metadata stored under `key`, or None.

    All bytes are compared with the digest that was stored with them, a second for a GiB.

    Raises:
        DamagedCache: they are others.
    """
    try:
        path = _path(key)
        if not path.is_file():
            return None
        with safe_open(path, framework="pt") as file:
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
            metadata = dict(file.metadata() or {})
    except (OSError, FairnasError):
        return None
    except SafetensorError as error:
        raise DamagedCache from error
    if metadata.pop("sha256", None) != _digest(tensors, metadata):
        raise DamagedCache
    return tensors, metadata


def store(key: str, tensors: dict[str, Tensor], metadata: dict[str, str]) -> None:
    """Keep tensors and metadata under `key`; does nothing when the cache cannot be written (read-only, full disk)."""
    with contextlib.suppress(OSError, SafetensorError, FairnasError):
        path = _path(key)
        path.parent.mkdir(parents=True, exist_ok=True)
        with _locked(path.parent, fcntl.LOCK_SH):
            # In a folder of its own, as safetensors too writes under a temporary name first.
            partial = path.with_name(f"images-{key}.{os.getpid()}.partial")
            try:
                partial.mkdir(exist_ok=True)
                save_file(tensors, partial / path.name, metadata | {"sha256": _digest(tensors, metadata)})
                (partial / path.name).replace(path)
            finally:
                _remove(partial)


def tidy() -> None:
    """Remove what killed processes left half-written, unless another process is writing just now."""
    with contextlib.suppress(OSError, FairnasError):
        found = list(cache_root().glob(LEFTOVERS))
        if found:
            with _locked(cache_root(), fcntl.LOCK_EX | fcntl.LOCK_NB) as alone:
                for path in found if alone else ():
                    _remove(path)


def _digest(tensors: Mapping[str, Tensor], metadata: Mapping[str, str]) -> str:
    digest = hashlib.sha256(sha256_json(dict(metadata)).encode())
    for name, tensor in sorted(tensors.items()):
        digest.update(f"{name} {tensor.dtype} {list(tensor.shape)}\n".encode())
        digest.update(tensor.numpy().data)
    return digest.hexdigest()


@contextlib.contextmanager
def _locked(folder: Path, how: int) -> Iterator[bool]:
    """Hold the lock of all who write images into a folder, or who remove leftovers from it, as far as it has locks.

    Yields:
        Whether the lock is held: not when `how` says not to wait, or on file systems that lock no folders.
    """
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        try:
            fcntl.flock(descriptor, how)
        except OSError:
            yield False
        else:
            yield True
    finally:
        os.close(descriptor)


def _remove(path: Path) -> None:
    with contextlib.suppress(OSError):
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path)
        else:
            path.unlink(missing_ok=True)


def _path(key: str) -> Path:
    return cache_root() / f"images-{key}.safetensors"
