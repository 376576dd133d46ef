"""A file of lines that only grows, beside a file of their digests: what was changed since is not believed."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Sequence
from pathlib import Path

from ..common.errors import UnreadableFile
from ..common.files import write_atomic
from ..common.reading import read_bytes

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
        self._path, self._digests_path = path, path.with_name(f"{path.name}.sha256")
        self._start = hashlib.sha256(owner.encode()).hexdigest()
        self.damage: str | None = None
        self.lines: list[str] = []
        self._digests: list[str] = []
        self._read()

    def digest(self, count: int) -> str:
        """Of the first `count` lines, and of whose they are."""
        return self._digests[count - 1] if count else self._start

    def append(self, texts: Sequence[str]) -> None:
        """Add lines; killing the process does not lose them."""
        digests = self._chain(texts)
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
        whole = content[: content.rfind(b"\n") + 1].split(b"\n")[:-1]
        texts = [line.decode(errors="replace") for line in whole]
        chain = self._chain(texts)
        known = digests.decode("ascii", errors="replace").splitlines()
        if texts and not self._digests_path.exists() and not odd_digests:
            known = chain
            write_atomic(self._digests_path, "".join(f"{digest}\n" for digest in known))
        sound = next(
            (n for n, digest in enumerate(chain) if n >= len(known) or known[n] != digest or "\ufffd" in texts[n]),
            len(texts),
        )
        if odd or odd_digests:
            self.damage = "cannot be read as a file"
        elif sound < len(texts):
            self.damage = f"was changed from line {sound + 1} on, or is another work's"
        self.lines, self._digests = texts, chain
        self.keep(sound)

    def _chain(self, texts: Sequence[str]) -> list[str]:
        last, digests = self.digest(len(self.lines)), []
        for text in texts:
            last = hashlib.sha256(f"{last}{text}".encode()).hexdigest()
            digests.append(last)
        return digests


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
