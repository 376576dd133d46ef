"""What runs models on a phone or board: our runner, ONNX Runtime, and what they need there, in one folder."""

from __future__ import annotations

import fcntl
import os
import shutil
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from ...common.files import sha256_file, sha256_json, write_json
from ...common.names import inside, safe_name
from ...common.places import cache_root
from ...common.reading import read_object
from ..errors import LatencyError
from .debian import system_libraries
from .packages import Package, ProgressLine, fetch, unpack
from .toolchain import Compiler, ingredients

ABIS = ("arm64-v8a", "aarch64", "x86_64")
"""Android phones, and Linux boards and servers with glibc 2.28 or newer."""

_RUNNER = "fairnas-runner"
_LIBRARY = "libonnxruntime.so"
_MANIFEST = "bundle.json"
# Changes when bundles are put together in another way from the same parts.
_VERSION = 1

_AAR = Package(
    registry="npm",
    name="com.github.asus4.onnxruntime",
    version="0.4.9",
    sha256="e59788788818fdde1b2e522e766a21ba0f7d8391de55737abf81e32cc801785d",
    megabytes=150,
)
_AAR_MEMBER = "package/Plugins/Android/onnxruntime.aar"
_AAR_LIBRARY = "jni/arm64-v8a/libonnxruntime.so"
_WHEELS = {
    machine: Package(
        registry="pypi",
        name="onnxruntime",
        version="1.32.0",
        sha256=sha256,
        megabytes=megabytes,
        platform=f"manylinux_2_28_{machine}",
    )
    for machine, sha256, megabytes in (
        ("aarch64", "2303372a85299b6757b0e11e1cbf13e410ddf7e10c37f4b37e99d1c90e7daf7c", 23),
        ("x86_64", "5a34fc4dfeb5a7b4a74c95dcba1e773d722abda720b474edf1b0c419dc6d163d", 28),
    )
}
_WHEEL_LIBRARY = "onnxruntime/capi/libonnxruntime.so.1.32.0"


@dataclass(frozen=True, slots=True)
class Bundle:
    """A folder of files to copy to a device, and how to start them there.

    Attributes:
        abi: one of `ABIS`.
        runtime: version of ONNX Runtime, such as `1.32.0`.
        folder: where the files lie on this machine; all of them directly in it.
        files: SHA-256 (hex) of each, by name.
    """

    abi: str
    runtime: str
    folder: Path
    files: Mapping[str, str]

    @property
    def digest(self) -> str:
        """SHA-256 (hex) of what is in it."""
        return sha256_json(dict(self.files))

    def command(self, directory: str) -> list[str]:
        """The arguments that start the runner on the device, up to and with `--library`; its others follow.

        Args:
            directory: absolute path on the device of the folder that the files were copied to.
        """
        runner = [f"{directory}/{_RUNNER}", "--library", f"{directory}/{_LIBRARY}"]
        loader = next((name for name in self.files if name.startswith("ld-linux")), None)
        return [f"{directory}/{loader}", "--library-path", directory, *runner] if loader else runner


def build_bundle(
    abi: str,
    ort_aar: Path | None = None,
    cache: Path | None = None,
    with_loader: bool = False,
    progress: ProgressLine | None = None,
) -> Bundle:
    """The bundle for an ABI; built once, then taken from the cache.

    Args:
        abi: one of `ABIS`.
        ort_aar: an ONNX Runtime AAR for Android instead of the pinned one; `arm64-v8a` only.
        cache: where downloads and bundles are kept; by default `$XDG_CACHE_HOME/fairnas`.
        with_loader: carry glibc too, for systems that have none or an old one; not for `arm64-v8a`.
        progress: called with a line for people before each long step.

    Raises:
        LatencyError: something needed is missing or wrong; the line says what.
    """
    if abi not in ABIS:
        raise LatencyError(f"there is no bundle for '{abi}': choose one of {', '.join(ABIS)}")
    android = abi == "arm64-v8a"
    if ort_aar and not android:
        raise LatencyError(f"an AAR is for Android phones: a bundle for {abi} takes ONNX Runtime from PyPI")
    if ort_aar and not ort_aar.is_file():
        raise LatencyError(f"there is no AAR {ort_aar}")
    if with_loader and android:
        raise LatencyError("a bundle for Android uses the phone's own loader: ask for aarch64 to carry glibc")
    cache = cache or cache_root()
    builder = _Builder(abi, ort_aar, cache / "bundles", with_loader, progress or (lambda text: None))
    try:
        with _alone(builder.cache, builder.progress):
            return builder.bundle()
    except OSError as error:
        raise LatencyError(f"cannot build a bundle in {builder.cache}: {error.strerror or error}") from error


def load_bundle(folder: Path) -> Bundle:
    """A bundle that was built before, checked against its own list.

    Raises:
        LatencyError: the folder holds no bundle, or a file is missing or damaged.
    """
    try:
        told = read_object(folder / _MANIFEST)
        abi, runtime, files = str(told["abi"]), str(told["runtime"]), dict(told["files"])
        for name, digest in files.items():
            # Its files are copied by name: one that leads elsewhere would take something else along.
            if sha256_file(inside(folder, safe_name(name, "a bundle's file"))) != digest:
                raise LatencyError(f"{folder / name} is damaged: remove {folder} and build the bundle again")
    except (OSError, ValueError, KeyError, TypeError) as error:
        if isinstance(error, LatencyError):
            raise
        raise LatencyError(f"{folder} holds no whole bundle: {error}") from error
    return Bundle(abi, runtime, folder, files)


def copy_bundle(bundle: Bundle, to: Path) -> Bundle:
    """Copy a bundle into a folder that is not there yet, for people who carry it to a device themselves.

    Raises:
        LatencyError: there is something of that name, or it cannot be written.
    """
    if to.exists():
        raise LatencyError(f"{to} is there already: name a new folder")
    try:
        to.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix=".", suffix=".fairnas.tmp", dir=to.parent) as name:
            whole = shutil.copytree(bundle.folder, Path(name) / "bundle")
            whole.rename(to)
    except OSError as error:
        raise LatencyError(f"cannot write {to}: {error.strerror}") from error
    return load_bundle(to)


@dataclass(frozen=True, slots=True)
class _Builder:
    abi: str
    ort_aar: Path | None
    cache: Path
    with_loader: bool
    progress: ProgressLine

    def bundle(self) -> Bundle:
        """From the cache if it is there and whole."""
        kept = self.cache / f"{self.abi}-{self._recipe()[:16]}"
        if kept.exists():
            try:
                return load_bundle(kept)
            except LatencyError as error:
                self.progress(f"building the bundle again: {error}")
                shutil.rmtree(kept)
        with tempfile.TemporaryDirectory(prefix=".", suffix=".fairnas.tmp", dir=self.cache) as name:
            folder = Path(name) / "bundle"
            folder.mkdir()
            self._fill(folder)
            folder.rename(kept)
        return load_bundle(kept)

    def _recipe(self) -> str:
        """Digest of everything that a bundle is made of."""
        parts = {
            "version": _VERSION,
            "abi": self.abi,
            "library": sha256_file(self.ort_aar) if self.ort_aar else self._package().sha256,
            "loader": self.with_loader,
            "runner": [sha256_file(path) for path in ingredients()],
        }
        return sha256_json(parts)

    def _package(self) -> Package:
        return _WHEELS.get(self.abi, _AAR)

    def _fill(self, folder: Path) -> None:
        try:
            from .elf import check_android_library, check_android_program, runtime_version
        except ImportError as error:
            raise LatencyError("building a bundle needs one more package: pip install 'fairnas[bundle]'") from error
        compiler = Compiler(self.cache / "zig")
        runner, library = folder / _RUNNER, folder / _LIBRARY
        self._take_library(library)
        if self.with_loader:
            for path in system_libraries(self.abi, self.cache, self.progress).iterdir():
                shutil.copyfile(path, folder / path.name)
        self.progress(f"compiling the runner for {self.abi}")
        if self.abi == "arm64-v8a":
            compiler.android_runner(runner)
            check_android_program(runner)
            check_android_library(library)
        else:
            compiler.glibc_runner(self.abi, runner)
        files = {}
        for path in sorted(folder.iterdir()):
            path.chmod(0o755)
            files[path.name] = sha256_file(path)
        write_json(folder / _MANIFEST, {"abi": self.abi, "runtime": runtime_version(library), "files": files})

    def _take_library(self, to: Path) -> None:
        if self.abi != "arm64-v8a":
            unpack(fetch(self._package(), self.cache / "packages", self.progress), _WHEEL_LIBRARY, to)
        elif self.ort_aar:
            unpack(self.ort_aar, _AAR_LIBRARY, to)
        else:
            with tempfile.TemporaryDirectory() as name:
                aar = Path(name) / "onnxruntime.aar"
                unpack(fetch(self._package(), self.cache / "packages", self.progress), _AAR_MEMBER, aar)
                unpack(aar, _AAR_LIBRARY, to)


@contextmanager
def _alone(cache: Path, progress: ProgressLine) -> Iterator[None]:
    """Build while nobody else builds in this cache, after removing what killed builds left."""
    cache.mkdir(parents=True, exist_ok=True)
    # A link in its place is refused (O_NOFOLLOW): what it points to is not ours to write.
    with os.fdopen(os.open(cache / "lock", os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o666), "w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            progress("waiting for another program that builds a bundle")
            fcntl.flock(lock, fcntl.LOCK_EX)
        for leftover in (*cache.glob(".*.fairnas.tmp"), *cache.glob("packages/.*.fairnas.tmp")):
            shutil.rmtree(leftover, ignore_errors=True)  # a link of that name stays
        yield
