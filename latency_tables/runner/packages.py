"""Files out of other people's packages: pinned versions, checked by SHA-256, downloaded once."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tarfile
import tempfile
import zipfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Literal
from urllib.request import urlopen

from ...common.files import sha256_file
from ..errors import LatencyError

ProgressLine = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class Package:
    """One file of a registry, by the client that its users have: their mirrors, proxies and keys apply.

    Attributes:
        registry: `npm` or `pypi`.
        name: of the package.
        version: pinned.
        sha256: of the file that the registry gives, hex.
        megabytes: its size, for people who wait.
        platform: of the wheel, for example `manylinux_2_28_aarch64`; pypi only.
    """

    registry: Literal["npm", "pypi"]
    name: str
    version: str
    sha256: str
    megabytes: int
    platform: str = ""


def fetch(package: Package, cache: Path, progress: ProgressLine) -> Path:
    """The package's file in `cache`; downloaded if it is not there yet, or is not the pinned one any more.

    Raises:
        LatencyError: it cannot be downloaded, or is not the file that was pinned.
    """
    kept = cache / package.sha256
    # Each time: a disk may have lost some of it since, and others may write there.
    if not kept.is_file() or sha256_file(kept) != package.sha256:
        what = f"{package.name} {package.version} from {package.registry}"
        why = f"{kept} is damaged: " if os.path.lexists(kept) else ""
        progress(f"{why}downloading {what} ({package.megabytes} MB)")
        cache.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix=".", suffix=".fairnas.tmp", dir=cache) as folder:
            file = _download(package, what, Path(folder))
            if sha256_file(file) != package.sha256:
                raise LatencyError(f"{what} is not the file that was pinned (SHA-256 {package.sha256}): do not use it")
            if kept.is_dir() and not kept.is_symlink():
                shutil.rmtree(kept)
            file.replace(kept)
    return kept


def unpack(archive: Path, member: str, to: Path) -> None:
    """Copy one file out of a zip (wheel, AAR) or a tar file (npm).

    Raises:
        LatencyError: the archive cannot be read or holds no such file.
    """
    try:
        if zipfile.is_zipfile(archive):
            with zipfile.ZipFile(archive) as opened, opened.open(member) as source, to.open("wb") as target:
                shutil.copyfileobj(source, target)
        else:
            with tarfile.open(archive) as opened, to.open("wb") as target:
                source = opened.extractfile(member)
                if source is None:
                    raise KeyError(member)
                with source:
                    shutil.copyfileobj(source, target)
    except KeyError as error:
        raise LatencyError(f"{archive} holds no {member}") from error
    except (tarfile.TarError, zipfile.BadZipFile, EOFError) as error:
        raise LatencyError(f"{archive} is not a whole zip or tar file: {error}") from error


def _download_without_npm(package: Package, what: str, folder: Path) -> Path:
    registry = os.environ.get("NPM_CONFIG_REGISTRY") or "https://registry.npmjs.org"
    name = package.name.rpartition("/")[2]  # of a scoped package, `@scope/name`
    file = folder / f"{name}-{package.version}.tgz"
    try:
        with (
            urlopen(f"{registry.rstrip('/')}/{package.name}/-/{file.name}", timeout=60) as source,
            file.open("wb") as to,
        ):
            shutil.copyfileobj(source, to)
    except (OSError, ValueError) as error:
        raise LatencyError(f"cannot download {what}: {error}") from error
    return file


def _download(package: Package, what: str, folder: Path) -> Path:
    if package.registry == "npm" and not shutil.which("npm"):
        return _download_without_npm(package, what, folder)
    if package.registry == "npm":
        argv = ["npm", "pack", "--silent", "--fetch-retries=1", "--pack-destination", str(folder)]
        argv.append(f"{package.name}@{package.version}")
    else:
        argv = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--only-binary=:all:"]
        # The interpreter does not matter: only the C library inside is used. The pinned wheel is CPython 3.11's.
        argv += ["--python-version", "3.11", "--implementation", "cp", "--abi", "cp311"]
        argv += ["--platform", package.platform, "--dest", str(folder), f"{package.name}=={package.version}"]
    run = subprocess.run(argv, cwd=folder, capture_output=True, text=True, check=False)
    files = [file for file in folder.iterdir() if file.is_file()]
    if run.returncode or len(files) != 1:
        words = [line for line in run.stderr.splitlines() if line.strip()] or [f"exit code {run.returncode}"]
        raise LatencyError(f"cannot download {what}: {words[-1].strip()}")
    return files[0]
