"""ONNX Runtime Web, downloaded once and checked: what runs models in a page."""

from __future__ import annotations

import hashlib
import tempfile
from collections.abc import Callable
from pathlib import Path

from ....common.places import cache_root
from ...errors import LatencyError
from ...runner.packages import Package, fetch, unpack

_PACKAGE = Package(
    "npm", "onnxruntime-web", "1.30.0", "d2228df7e4616bc3348bf504ee888f3bec43789a273f0a63f3e68d203ce3bf71", 33
)
_SHA256 = {
    "ort.wasm.min.mjs": "219e6a1fc8a9938268d18efca3c91d310bd2f4a59bbd13744df5b2b7fc6cee3b",
    "ort-wasm-simd-threaded.mjs": "e13f7f94fc51b4ca72b12faeb1ee95f4ace6dfbc8939bc718aabdc0a27c4299b",
    "ort-wasm-simd-threaded.wasm": "3398c10d07d229bd91b364548e130e0e51a8e5704b88c7c083ebbeb78842dee2",
}


def runtime_files(cache: Path | None = None, progress: Callable[[str], None] = lambda line: None) -> dict[str, bytes]:
    """The files that a page loads, by name.

    Args:
        cache: the folder to keep them in; by default `$XDG_CACHE_HOME/fairnas`.
        progress: is told when something is downloaded.

    Raises:
        LatencyError: the package cannot be downloaded, or is not the pinned one.
    """
    cache = cache or cache_root()
    folder = cache / f"{_PACKAGE.name}-{_PACKAGE.version}"
    folder.mkdir(parents=True, exist_ok=True)
    return {name: _file(folder / name, digest, cache, progress) for name, digest in _SHA256.items()}


def _file(path: Path, digest: str, cache: Path, progress: Callable[[str], None]) -> bytes:
    """One file; unpacked again where it is missing or damaged."""
    if path.is_file() and _digest(content := path.read_bytes()) == digest:
        return content
    package = fetch(_PACKAGE, cache / "packages", progress)
    with tempfile.TemporaryDirectory(prefix=".", suffix=".fairnas.tmp", dir=path.parent) as folder:
        unpacked = Path(folder) / path.name
        unpack(package, f"package/dist/{path.name}", unpacked)
        content = unpacked.read_bytes()
        if _digest(content) != digest:
            raise LatencyError(f"{path.name} of {_PACKAGE.name} {_PACKAGE.version} is not the file that was pinned")
        unpacked.rename(path)
    return content


def _digest(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()
