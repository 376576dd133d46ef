"""Files that are either whole or absent, and their digests."""

from __future__ import annotations

import hashlib
import json
import os
from pathlib import Path
from typing import Any

TEMPORARY = ".*.fairnas.tmp"  # what half-written files are called


def write_atomic(path: Path, content: bytes | str) -> None:
    """Write to a temporary name, flush to disk, then rename: a kill leaves the old file or the new one.

    Raises:
        OSError: read-only folder, full disk; it names the file, and the temporary file is removed.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{os.getpid()}.fairnas.tmp")
    try:
        with temporary.open("wb") as file:
            file.write(content.encode() if isinstance(content, str) else content)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
    except BaseException as error:
        temporary.unlink(missing_ok=True)
        if isinstance(error, OSError) and error.filename is None:
            error.filename = str(path)  # a failed write does not say where
        raise


def write_json(path: Path, value: Any) -> None:
    """Write JSON that people can read and diff."""
    write_atomic(path, json.dumps(value, indent=1) + "\n")


def sha256_file(path: Path) -> str:
    """Digest of a file's content."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def sha256_json(value: Any) -> str:
    """Digest of a JSON value, whatever the order of its keys."""
    return hashlib.sha256(json.dumps(value, sort_keys=True).encode()).hexdigest()
