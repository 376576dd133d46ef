"""Glibc and the C++ library out of Debian's packages: for systems that have neither, such as Alpine or a phone."""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
from pathlib import Path

from ...common.errors import UnreadableFile
from ...common.files import sha256_file, write_json
from ...common.reading import read_object
from ..errors import LatencyError
from .packages import ProgressLine

_PACKAGES = ("libc6", "libstdc++6", "libgcc-s1")
_ARCHITECTURES = {"aarch64": "arm64", "x86_64": "amd64"}
_LOADERS = {"aarch64": "ld-linux-aarch64.so.1", "x86_64": "ld-linux-x86-64.so.2"}
# What ONNX Runtime's libraries for Linux need.
_LIBRARIES = (
    "libc.so.6",
    "libm.so.6",
    "libdl.so.2",
    "librt.so.1",
    "libpthread.so.0",
    "libstdc++.so.6",
    "libgcc_s.so.1",
)


def system_libraries(machine: str, cache: Path, progress: ProgressLine) -> Path:
    """A folder with glibc's loader and the libraries that ONNX Runtime needs; apt checks Debian's signatures.

    Taken once and then kept: Debian replaces its packages in place, so that no version can be pinned for long. What is
    kept is compared with the digests of what was taken, and taken again where it differs.

    Raises:
        LatencyError: this is no Debian, or its mirror cannot be reached.
    """
    kept = cache / f"glibc-{machine}"
    if kept.is_dir() and not _is_whole(kept):
        progress(f"{kept} is damaged: taking its libraries again")
        shutil.rmtree(kept)
        _digests_of(kept).unlink(missing_ok=True)
    if not kept.is_dir():
        missing = [tool for tool in ("apt-get", "dpkg-deb") if not shutil.which(tool)]
        if missing:
            raise LatencyError(
                f"a bundle with its own loader takes glibc from Debian's packages, and there is no {missing[0]} here: "
                "build it on Debian, or use a board that has glibc"
            )
        progress(f"downloading {', '.join(_PACKAGES)} for {machine} from Debian (4 MB)")
        cache.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix=".", suffix=".fairnas.tmp", dir=cache) as name:
            folder = Path(name)
            root, chosen = folder / "root", folder / "chosen"
            for package in _downloaded(_ARCHITECTURES[machine], folder):
                _call(["dpkg-deb", "-x", str(package), str(root)], folder)
            chosen.mkdir()
            for library in (_LOADERS[machine], *_LIBRARIES):
                # Files before links: absolute links lead out of the unpacked packages.
                found = sorted(root.rglob(library), key=Path.is_symlink)
                if not found:
                    raise LatencyError(f"Debian's packages {', '.join(_PACKAGES)} hold no {library}")
                shutil.copyfile(found[0], chosen / library)
            write_json(_digests_of(kept), {path.name: sha256_file(path) for path in sorted(chosen.iterdir())})
            chosen.rename(kept)
    return kept


def _digests_of(kept: Path) -> Path:
    """Beside the folder, all of whose files go into bundles."""
    return kept.with_name(f"{kept.name}.json")


def _is_whole(kept: Path) -> bool:
    """Whether the libraries are those that were taken; of a folder from before digests were kept, they are from now."""
    found = {path.name: sha256_file(path) for path in sorted(kept.iterdir()) if path.is_file()}
    if not os.path.lexists(_digests_of(kept)):
        write_json(_digests_of(kept), found)
    try:
        return read_object(_digests_of(kept)) == found
    except UnreadableFile:
        return False


def _downloaded(architecture: str, folder: Path) -> list[Path]:
    """The packages, by an apt with lists of its own: the system's lists and architectures stay as they are."""
    for part in ("lists/partial", "cache/archives/partial", "packages"):
        (folder / part).mkdir(parents=True)
    configuration = folder / "apt.conf"
    # Error-Mode: without it an update without a network counts as a success.
    configuration.write_text(
        f'APT::Architecture "{architecture}";\n'
        f'APT::Architectures "{architecture}";\n'
        'APT::Sandbox::User "";\n'
        'APT::Update::Error-Mode "any";\n'
        f'Dir::State "{folder}";\n'
        f'Dir::State::lists "{folder}/lists";\n'
        'Dir::State::status "/dev/null";\n'
        f'Dir::Cache "{folder}/cache";\n'
    )
    apt = ["apt-get", "-c", str(configuration), "-qq"]
    _call([*apt, "update"], folder)
    _call([*apt, "download", *_PACKAGES], folder / "packages")
    return sorted((folder / "packages").glob("*.deb"))


def _call(argv: list[str], folder: Path) -> None:
    run = subprocess.run(argv, cwd=folder, capture_output=True, text=True, check=False)
    if run.returncode:
        words = run.stderr.strip().splitlines() or [f"code {run.returncode}"]
        raise LatencyError(f"cannot take glibc from Debian's packages, {argv[0]}: {words[-1]}")
