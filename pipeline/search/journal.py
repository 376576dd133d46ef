"""The record of a search: one line per scored architecture, in a file that only grows."""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from ..errors import UserError
from .algorithms.interface import Genome


class Score(NamedTuple):
    """What scoring found; all else about an architecture is computed from its genome."""

    genome: Genome
    generation: int
    accuracy: float


class ScoreJournal:
    """Scores on disk as soon as they are known: rewriting an archive would take longer with every generation.

    Args:
        path: the file. A last line that was cut off is dropped.

    Attributes:
        scores: all of them, in the order in which they were asked for.

    Raises:
        UserError: the file is damaged.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        content = path.read_bytes() if path.exists() else b""
        lines = content[: content.rfind(b"\n") + 1].splitlines(keepends=True)
        try:
            self.scores = [_read(line) for line in lines]
        except (ValueError, TypeError):
            raise UserError(f"{path} is damaged: run the same command with --force search to start again") from None
        self._cut(lines)

    def append(self, scores: Sequence[Score]) -> None:
        """Add scores; killing the process does not lose them."""
        with self._path.open("a") as file:
            file.writelines(json.dumps(score) + "\n" for score in scores)
        self.scores += scores

    def sync(self) -> None:
        """Force them to disk; after this, not even a power cut loses them."""
        with self._path.open("a") as file:
            os.fsync(file.fileno())

    def keep(self, count: int) -> None:
        """Forget all but the first scores."""
        if count < len(self.scores):
            self._cut(self._path.read_bytes().splitlines(keepends=True)[:count])
            self.scores = self.scores[:count]

    def _cut(self, lines: Sequence[bytes]) -> None:
        # In place: a kill leaves the longer file or the shorter one.
        self._path.touch()
        os.truncate(self._path, sum(map(len, lines)))


def _read(line: bytes) -> Score:
    genome, generation, accuracy = json.loads(line)
    return Score(tuple(int(gene) for gene in genome), int(generation), float(accuracy))
