"""The bytes of an export folder: which files are there, whether they are what its checksums list, and nothing besides.

Whoever made the folder may want to keep us waiting, or to lead us elsewhere. Links are refused, files that are none
(FIFOs, devices) are never opened, and whatever is read is of a bounded size.
"""

from __future__ import annotations

import hashlib
import os
import stat
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from ...common.errors import FairnasError, UnreadableFile
from ...common.reading import parse_json, read_bytes
from ..checks.findings import Finding, failed, ok
from ..errors import ExportError
from .checksums import SIGNATURE, SUMS, parse_sums
from .page import PAGE
from .passport import PASSPORT

LARGEST = {SUMS: 1 << 20, SIGNATURE: 64 << 10, PASSPORT: 64 << 20, PAGE: 64 << 20}
"""Of the files that speak of the others, in bytes."""

LARGEST_MODEL = 4 << 30
MOST_FILES = 1000

_CHUNK = 1 << 20


@dataclass
class FolderBytes:
    """What was found.

    Attributes:
        findings: of every file.
        sums: content of the checksums; None where there is none that could be read.
        listed: digest by name, from them.
        contents: of the passport and its page, where their bytes are those that are listed.
    """

    findings: list[Finding] = field(default_factory=list)
    sums: bytes | None = None
    listed: dict[str, str] = field(default_factory=dict)
    contents: dict[str, bytes] = field(default_factory=dict)


def check_bytes(folder: Path) -> FolderBytes:
    """Digests of all listed files, and files that are not listed."""
    found = FolderBytes()
    try:
        found.sums = read_regular(folder, SUMS)
        found.listed = parse_sums(found.sums)
        if len(found.listed) > MOST_FILES:
            raise ExportError(f"it lists more than {MOST_FILES} files")
    except (UnreadableFile, ExportError) as error:
        found.listed = {}
        found.findings.append(failed(SUMS, "form", str(error)))
        return found
    found.findings.append(ok(SUMS, "form"))
    found.findings += [_check_text(folder, name, found) for name in (PASSPORT, PAGE)]
    sizes = _stated_sizes(found.contents.get(PASSPORT))
    for name, digest in found.listed.items():
        if name not in (PASSPORT, PAGE):
            found.findings.append(_check_file(folder, name, digest, sizes.get(name)))
    found.findings += check_entries(folder, {*found.listed, SUMS, SIGNATURE}, SUMS)
    return found


def read_regular(folder: Path, name: str) -> bytes:
    """Content of one of the files that speak of the others.

    Raises:
        UnreadableFile: it is missing, a link, no regular file, or too large; the name is not in the message.
    """
    reason = why_not_regular(folder, name)
    if reason is not None:
        raise UnreadableFile(reason)
    size = (folder / name).lstat().st_size
    if size > LARGEST[name]:
        raise UnreadableFile(f"it has {size:,} bytes, of which no such file has more than {LARGEST[name]:,}")
    return read_bytes(folder / name, LARGEST[name])


def why_not_regular(folder: Path, name: str) -> str | None:
    """Why a path below a folder is not to be opened; None where it is a file, and no link leads to it."""
    path, mode = folder, 0
    for part in Path(name).parts:
        path = path / part
        try:
            mode = path.lstat().st_mode
        except OSError as error:
            return "it is missing" if isinstance(error, FileNotFoundError) else f"{error.strerror}"
        if stat.S_ISLNK(mode):
            return "it is a link or no file" if path == folder / name else "a link leads to it"
    return None if stat.S_ISREG(mode) else "it is a link or no file"


def check_entries(folder: Path, known: set[str], where: str) -> Iterator[Finding]:
    """Whatever lies in the folder and is not known; a folder is named where nothing is in it."""
    seen = 0
    for place, names, files in os.walk(folder):  # which does not follow links
        if not names and not files and Path(place) != folder:
            files = [""]
        for name in sorted([*(name for name in names if (Path(place) / name).is_symlink()), *files]):
            called = (Path(place) / name).relative_to(folder).as_posix()
            if called in known:
                continue
            seen += 1
            if seen > MOST_FILES:
                yield failed(".", "listing", f"more than {MOST_FILES} files are in it and not in {where}")
                return
            yield failed(called, "listing", f"it is in the folder and not in {where}")


def _check_text(folder: Path, name: str, found: FolderBytes) -> Finding:
    """The passport or its page, whose content is kept."""
    if name not in found.listed:
        return failed(name, "listing", f"{SUMS} does not list it")
    try:
        content = read_regular(folder, name)
    except UnreadableFile as error:
        return failed(name, "bytes", f"{SUMS} lists it, and {error}")
    finding = _compared(name, hashlib.sha256(content).hexdigest(), found.listed[name])
    if finding.outcome == "ok":
        found.contents[name] = content
    return finding


def _check_file(folder: Path, name: str, digest: str, stated: int | None) -> Finding:
    reason = why_not_regular(folder, name)
    if reason is not None:
        return failed(name, "bytes", f"{SUMS} lists it, and {reason}")
    try:
        return _compared(name, digest_of(folder / name, LARGEST_MODEL if stated is None else stated), digest)
    except FairnasError as error:
        return failed(name, "bytes", str(error))


def digest_of(path: Path, largest: int) -> str:
    """SHA-256 (hex) of a regular file that is no link.

    Raises:
        UnreadableFile: it is something else, is larger, or cannot be read; the name is not in the message.
    """
    digest = hashlib.sha256()
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
        with os.fdopen(descriptor, "rb") as file:
            facts = os.fstat(descriptor)
            if not stat.S_ISREG(facts.st_mode):
                raise UnreadableFile("it is a link or no file")
            if facts.st_size > min(largest, LARGEST_MODEL):
                raise UnreadableFile(f"it has {facts.st_size:,} bytes, more than the {largest:,} that it may have")
            left = facts.st_size
            while left > 0 and (chunk := file.read(min(_CHUNK, left))):
                digest.update(chunk)
                left -= len(chunk)
    except OSError as error:
        raise UnreadableFile(f"it cannot be read: {error.strerror}") from None
    return digest.hexdigest()


def _compared(name: str, found: str, listed: str) -> Finding:
    if found == listed:
        return ok(name, "bytes")
    return failed(name, "bytes", f"its SHA-256 is {found[:10]}..., {SUMS} lists {listed[:10]}...")


def _stated_sizes(passport: bytes | None) -> Mapping[str, int]:
    """What the passport says of sizes, before anything else of it is believed: no larger file is read through."""
    try:
        content = parse_json((passport or b"{}").decode(), "it")
        files = [file for record in content["formats"] for file in record["files"]]
        return {file["path"]: file["bytes"] for file in files if isinstance(file["bytes"], int)}
    except (UnreadableFile, UnicodeDecodeError, LookupError, TypeError):
        return {}
