"""A file of lines that only grows, beside a file of their digests: what was changed since is not believed."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Sequence
from pathlib import Path

from ...common.errors import UnreadableFile
from ...common.files import write_atomic
from ...common.reading import read_bytes

DIGESTS = ".sha256"
"""How the names of files of digests end."""

_LARGEST = 1 << 34
_HEX = 64


class DigestedLines:
    """Lines on disk as soon as they are known.

    Each line's digest is of the one before it, too, and the first one's of whose lines they are: a changed, lost,
    repeated or foreign line breaks the chain, and the lines before it stay believed. Digests are written before their
    lines, so a kill between the two leaves digests to spare. A file without any is of an earlier version.

    Args:
        path: of the lines; the digests lie beside it, as `NAME.sha256`.
        owner: whose they are.

    Attributes:
        lines: those that are believed, without their ends.
        damage: why others, which were there, are not; None where there were none. A last line that a kill cut off is
            dropped without a word.
    """

    def __init__(self, path: Path, owner: str) -> None:
        self._path, self._digests_path = path, _digests_of(path)
        self._start = _start(owner)
        self.damage: str | None = None
        self.lines: list[str] = []
        self._digests: list[str] = []
        self._read()

    def digest(self, count: int) -> str:
        """Of the first `count` lines, and of whose they are."""
        return self._digests[count - 1] if count else self._start

    def append(self, texts: Sequence[str]) -> None:
        """Add lines; killing the process does not lose them."""
        digests = _chain(self.digest(len(self.lines)), texts)
        _append(self._digests_path, "".join(f"{digest}\n" for digest in digests))
        _append(self._path, "".join(f"{text}\n" for text in texts))
        self._digests += digests
        self.lines += texts

    def sync(self) -> None:
        """Force them to disk; after this, not even a power cut loses them."""
        for path in (self._digests_path, self._path):
            _append(path, "", sync=True)

    def keep(self, count: int) -> None:
        """Forget all but the first lines."""
        self.lines, self._digests = self.lines[:count], self._digests[:count]
        # In place: a kill leaves the longer file or the shorter one.
        for path, size in (
            (self._path, sum(len(line.encode()) + 1 for line in self.lines)),
            (self._digests_path, count * (_HEX + 1)),
        ):
            _append(path, "")
            os.truncate(path, size)

    def remove(self) -> None:
        """Remove both files."""
        for path in (self._path, self._digests_path):
            path.unlink(missing_ok=True)

    def _read(self) -> None:
        content, odd = _content(self._path)
        digests, odd_digests = _content(self._digests_path)
        texts, known = _whole_lines(content), _known(digests)
        chain = _chain(self._start, texts)
        if texts and not self._digests_path.exists() and not odd_digests:
            known = chain
            write_atomic(self._digests_path, "".join(f"{digest}\n" for digest in known))
        sound = _sound(texts, chain, known)
        self.damage = "cannot be read as a file" if odd or odd_digests else _damage(sound, texts)
        self.lines, self._digests = texts, chain
        self.keep(sound)


def damage_of(path: Path, owner: str) -> str | None:
    """What is wrong with a file of lines, as `DigestedLines` would find it; nothing is touched.

    Args:
        path: of the lines.
        owner: whose they are.

    Raises:
        UnreadableFile: the file, or that of the digests, cannot be read.
    """
    digests_path = _digests_of(path)
    if not digests_path.exists():
        return None  # of an earlier version, or none was written yet
    texts, known = _whole_lines(read_bytes(path, _LARGEST)), _known(read_bytes(digests_path, _LARGEST))
    return _damage(_sound(texts, _chain(_start(owner), texts), known), texts)


def _digests_of(path: Path) -> Path:
    return path.with_name(f"{path.name}{DIGESTS}")


def _start(owner: str) -> str:
    return hashlib.sha256(owner.encode()).hexdigest()


def _chain(last: str, texts: Sequence[str]) -> list[str]:
    digests: list[str] = []
    for text in texts:
        last = hashlib.sha256(f"{last}{text}".encode()).hexdigest()
        digests.append(last)
    return digests


def _whole_lines(content: bytes) -> list[str]:
    whole = content[: content.rfind(b"\n") + 1].split(b"\n")[:-1]
    return [line.decode(errors="replace") for line in whole]


def _known(content: bytes) -> list[str]:
    return content.decode("ascii", errors="replace").splitlines()


def _sound(texts: Sequence[str], chain: Sequence[str], known: Sequence[str]) -> int:
    """How many lines are believed."""
    return next(
        (n for n, digest in enumerate(chain) if n >= len(known) or known[n] != digest or "\ufffd" in texts[n]),
        len(texts),
    )


def _damage(sound: int, texts: Sequence[str]) -> str | None:
    return f"was changed from line {sound + 1} on, or is another work's" if sound < len(texts) else None


def _content(path: Path) -> tuple[bytes, bool]:
    """What is in a file, and whether something else than a file was in its place, which is removed."""
    if path.is_symlink() or (path.exists() and not path.is_file()):
        path.unlink()
        return b"", True
    try:
        return (read_bytes(path, _LARGEST) if path.exists() else b""), False
    except UnreadableFile:
        path.unlink()
        return b"", True


def _append(path: Path, text: str, sync: bool = False) -> None:
    descriptor = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o666)
    with os.fdopen(descriptor, "a", encoding="utf-8") as file:
        file.write(text)
        file.flush()
        if sync:
            os.fsync(descriptor)
