"""Read image files: check them, find their usual size, decode them, in several processes when there are many."""

from __future__ import annotations

import hashlib
import os
import statistics
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Generic, TypeVar

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageOps, UnidentifiedImageError
from rich.console import Console
from rich.progress import Progress
from torch.utils.data import DataLoader
from torch.utils.data import Dataset as TorchDataset

from ...common.text import plain
from ..errors import UserError
from .kinds import is_deep, opened, read_image, to_rgb

T = TypeVar("T")

CHUNK = 64  # files per task of a worker process: enough to outweigh the cost of handing one over
IN_PROCESS = 256  # below this many files, starting processes costs more than it saves
SAMPLED = 512  # images whose headers tell the usual size of a set
PATIENCE_S = 2.0  # a progress bar appears after this long
END_MARKS = {"JPEG": b"\xff\xd9", "PNG": b"IEND\xaeB`\x82"}


@dataclass(frozen=True, slots=True)
class Broken:
    """What to say of a file that is not a usable image."""

    error: str


def usual_side(paths: Sequence[str]) -> int:
    """The median shorter side, in pixels, over a sample that spreads evenly over `paths`."""
    sample = paths[:: max(1, len(paths) // SAMPLED)]
    sides = list(_whole(_over_files(_shorter_side, sample, "looking at images")))
    return int(statistics.median_low(sides))


def check_files(paths: Sequence[str]) -> list[str]:
    """Check header and end of every file, and decode those whose end looks unusual.

    Returns:
        The sha256 of each file's content.

    Raises:
        UserError: an image is broken; it names the first.
    """
    return list(_whole(_over_files(_check, paths, "checking images")))


def decode_files(paths: Sequence[str], side: int) -> tuple[NDArray[np.uint8], list[str]]:
    """Decode every file: shorter side resized to `side`, then the centre square.

    Returns:
        Pixels `[N, side, side, 3]` and the sha256 of each file's content.

    Raises:
        UserError: an image is broken; it names the first.
    """
    pixels = np.empty((len(paths), side, side, 3), dtype=np.uint8)
    digests: list[str] = []
    decoded = _whole(_over_files(partial(_decode, side=side), paths, "decoding images"))
    for index, (square, digest) in enumerate(decoded):
        pixels[index] = square
        digests.append(digest)
    return pixels, digests


def broken_image(path: str, error: Exception) -> UserError:
    """The line for an image that cannot be used."""
    return UserError(f"broken image {plain(path)}: {_reason(error)}; replace or remove it")


def _reason(error: Exception) -> str:
    if isinstance(error, UnidentifiedImageError):
        return "it is not an image of a known format"
    if isinstance(error, MemoryError):
        return "this machine's memory is too small to decode it"
    return plain(" ".join(str(error).split())) or type(error).__name__


def _shorter_side(path: str) -> int:
    with opened(read_image(path)) as image:
        return min(image.size)


def _check(path: str) -> str:
    content = read_image(path)
    with opened(content) as image:
        mark = END_MARKS.get(image.format or "")
        deep = is_deep(image)
    if mark is None or deep or not content.endswith(mark):
        to_rgb(content)
    return hashlib.sha256(content).hexdigest()


def _decode(path: str, side: int) -> tuple[NDArray[np.uint8], str]:
    content = read_image(path)
    image = to_rgb(content, side)
    if image.size != (side, side):
        image = ImageOps.fit(image, (side, side), Image.Resampling.BILINEAR)
    return np.asarray(image), hashlib.sha256(content).hexdigest()


def _whole(results: Iterable[T | Broken]) -> Iterator[T]:
    """Pass results on; once all files were looked at, complain about the broken ones."""
    broken: list[Broken] = []
    for result in results:
        if isinstance(result, Broken):
            broken.append(result)
        elif not broken:
            yield result
    if broken:
        more = f" ({len(broken) - 1} more images are broken too)" if len(broken) > 1 else ""
        raise UserError(f"{broken[0].error}{more}")


def _over_files(work: Callable[[str], T], paths: Sequence[str], description: str) -> Iterator[T | Broken]:
    """`work` on every path, in order; a file that makes it fail gives `Broken`."""
    workers = min(os.cpu_count() or 1, 8) if len(paths) > IN_PROCESS else 0
    chunks = DataLoader(_Chunks(work, paths), batch_size=None, num_workers=workers, collate_fn=_unchanged)
    for chunk in _with_progress(chunks, len(chunks), description):
        yield from chunk


class _Chunks(TorchDataset[list[T | Broken]], Generic[T]):
    def __init__(self, work: Callable[[str], T], paths: Sequence[str]) -> None:
        self.work = work
        self.paths = paths

    def __len__(self) -> int:
        return -(-len(self.paths) // CHUNK)

    def __getitem__(self, index: int) -> list[T | Broken]:
        return [self._guarded(path) for path in self.paths[index * CHUNK : (index + 1) * CHUNK]]

    def _guarded(self, path: str) -> T | Broken:
        try:
            return self.work(path)
        except Exception as error:  # decoders of damaged files raise nearly anything: SyntaxError, struct.error, ...
            return Broken(str(broken_image(path, error)))


def _unchanged(chunk: T) -> T:
    return chunk


def _with_progress(results: Iterable[T], total: int, description: str) -> Iterator[T]:
    started = time.monotonic()
    progress = Progress(console=Console(stderr=True), transient=True)
    task = progress.add_task(description, total=total)
    shown = False
    try:
        for done, result in enumerate(results, start=1):
            yield result
            if shown:
                progress.update(task, completed=done)
            elif time.monotonic() - started > PATIENCE_S:
                progress.start()
                shown = True
    finally:
        if shown:  # else stopping would print an empty line where there is no terminal
            progress.stop()
