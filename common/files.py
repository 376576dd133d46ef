"""Files that are either whole or absent, and their digests."""

from __future__ import annotations

import hashlib
import json
import os
import re
from pathlib import Path
from typing import Any

_TEMPORARY_NAME = re.compile(r"\..+\.\d+\.fairnas\.tmp")  # what half-written files are called


def write_atomic(path: Path, content: bytes | str) -> None:
    """Write to a temporary name, flush to disk, then rename: a kill leaves the old file or the new one.

    A link in the file's place is replaced, never written through. The folder is flushed too, so that the new name
    outlasts a power cut.

    Raises:
        OSError: read-only folder, full disk; it names the file, and the temporary file is removed.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{os.getpid()}.fairnas.tmp")
    try:
        temporary.unlink(missing_ok=True)  # of a killed process that had this number
        descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, 0o666)
        with os.fdopen(descriptor, "wb") as file:
            file.write(content.encode() if isinstance(content, str) else content)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
    except BaseException as error:
        temporary.unlink(missing_ok=True)
        if isinstance(error, OSError) and error.filename is None:
            error.filename = str(path)  # a failed write does not say where
        raise
    sync_folder(path.parent)


def sync_folder(folder: Path) -> None:
    """Flush a folder's list of names to disk, where the file system lets one."""
    try:
        descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    except OSError:
        return
    try:
        os.fsync(descriptor)
    except OSError:
        pass
    finally:
        os.close(descriptor)


def is_temporary(path: Path) -> bool:
    """Whether a file is a half-written one of `write_atomic`, by its name and kind."""
    return _TEMPORARY_NAME.fullmatch(path.name) is not None and path.is_file() and not path.is_symlink()


def write_json(path: Path, value: Any) -> None:
    """Write JSON that people can read and diff.

    Raises:
        ValueError: it holds NaN or infinity, which are no JSON.
    """
    write_atomic(path, json.dumps(value, indent=1, allow_nan=False) + "\n")


def sha256_file(path: Path) -> str:
    """Digest of a file's content."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def sha256_json(value: Any) -> str:
    """Digest of a JSON value, whatever the order of its keys."""
    return hashlib.sha256(json.dumps(value, sort_keys=True).encode()).hexdigest()
