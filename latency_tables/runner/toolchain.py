"""The runner, compiled for other processors and systems by zig's C compiler, which PyPI has: no NDK, no cross gcc."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path

from ..errors import LatencyError

_SOURCES = Path(__file__).parent
_KINDS = (".c", ".h", ".symbols")
_ANDROID = _SOURCES / "android"
_C = ("-std=c11", "-D_GNU_SOURCE", "-O2", "-Wall", "-Wextra", "-fPIE")


def ingredients() -> list[Path]:
    """All files that decide what a runner becomes, this one included."""
    return [Path(__file__), *sorted(path for path in _SOURCES.rglob("*") if path.suffix in _KINDS)]


class Compiler:
    """Zig, keeping what it compiles of itself in our cache."""

    def __init__(self, cache: Path) -> None:
        """Takes the folder for zig's own files.

        Raises:
            LatencyError: zig is not installed.
        """
        if not find_spec("ziglang"):
            raise LatencyError(
                "building the runner needs a compiler for phones and boards: pip install 'fairnas[bundle]'"
            )
        self._environment = {**os.environ, "ZIG_GLOBAL_CACHE_DIR": str(cache), "ZIG_LOCAL_CACHE_DIR": str(cache)}

    def glibc_runner(self, machine: str, to: Path) -> None:
        """Build for Linux with glibc 2.28 or newer, as ONNX Runtime's wheels ask.

        Args:
            machine: `aarch64` or `x86_64`.
            to: the program to write.
        """
        target = f"{machine}-linux-gnu.2.28"
        self._zig("cc", "-target", target, *_C, "-s", "-pie", *_c_files(_SOURCES), "-ldl", "-o", str(to))

    def android_runner(self, to: Path) -> None:
        """Build for 64-bit Android phones from API level 24; see `runner/android/README.md`."""
        compile_c = ["cc", "-target", "aarch64-linux-android.24", "-nostdlibinc", "-c"]
        with tempfile.TemporaryDirectory() as name:
            folder = Path(name)
            objects = []
            for source in (*_c_files(_SOURCES), *_c_files(_ANDROID)):
                objects.append(str(folder / f"{Path(source).stem}.o"))
                self._zig(*compile_c, *_C, "-isystem", str(_ANDROID / "include"), source, "-o", objects[-1])
            libraries = [self._stub(symbols, compile_c, folder) for symbols in sorted(_ANDROID.glob("*.symbols"))]
            start = ["-pie", "-dynamic-linker", "/system/bin/linker64", "-z", "now", "-z", "max-page-size=16384"]
            self._zig("ld.lld", *start, "--hash-style=both", "-s", *objects, *libraries, "-o", str(to))

    def _stub(self, symbols: Path, compile_c: Sequence[str], folder: Path) -> str:
        """A library that only names functions for the linker; the phone has the real one."""
        source, compiled, library = (folder / f"{symbols.stem}{ending}" for ending in (".c", ".stub.o", ".so"))
        source.write_text("".join(f"void {name}(void) {{}}\n" for name in symbols.read_text().split()))
        self._zig(*compile_c, "-w", "-fPIC", "-fno-builtin", str(source), "-o", str(compiled))
        self._zig("ld.lld", "-shared", "-soname", library.name, str(compiled), "-o", str(library))
        return str(library)

    def _zig(self, *arguments: str) -> None:
        argv = [sys.executable, "-m", "ziglang", *arguments]
        run = subprocess.run(argv, env=self._environment, capture_output=True, text=True, check=False)
        if run.returncode:
            said = [line for line in run.stderr.splitlines() if "error" in line] or run.stderr.splitlines() or [""]
            raise LatencyError(f"the runner does not compile, zig {arguments[0]} (code {run.returncode}): {said[0]}")


def _c_files(folder: Path) -> list[str]:
    return [str(path) for path in sorted(folder.glob("*.c"))]
