"""The record of a search: one line per scored architecture, in a file that only grows."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from ...common.errors import UnreadableFile
from ...common.reading import parse_json
from ..runs.digested_lines import DigestedLines
from .algorithms.interface import Genome


class Score(NamedTuple):
    """What scoring found; all else about an architecture is computed from its genome."""

    genome: Genome
    generation: int
    accuracy: float


class ScoreJournal:
    """Scores on disk as soon as they are known: rewriting an archive would take longer with every generation.

    Args:
        path: the file.
        owner: whose search it is.
        genes: number of values of each gene.

    Attributes:
        scores: all that are sound, in the order in which they were asked for.
        damage: why others, which were there, are not; None where there were none.
    """

    def __init__(self, path: Path, owner: str, genes: Sequence[int]) -> None:
        self._lines = DigestedLines(path, owner)
        self.damage = self._lines.damage
        self.scores: list[Score] = []
        for number, line in enumerate(self._lines.lines, start=1):
            score = _read(line, genes)
            if score is None:
                self.damage = f"holds no score in line {number}"
                self._lines.keep(number - 1)
                break
            self.scores.append(score)

    def digest(self, count: int) -> str:
        """Of the first `count` scores."""
        return self._lines.digest(count)

    def append(self, scores: Sequence[Score]) -> None:
        """Add scores; killing the process does not lose them."""
        self._lines.append([json.dumps(score) for score in scores])
        self.scores += scores

    def sync(self) -> None:
        """Force them to disk; after this, not even a power cut loses them."""
        self._lines.sync()

    def keep(self, count: int) -> None:
        """Forget all but the first scores."""
        if count < len(self.scores):
            self._lines.keep(count)
            self.scores = self.scores[:count]


def _read(line: str, genes: Sequence[int]) -> Score | None:
    try:
        genome, generation, accuracy = parse_json(line, "a line")
        is_genome = len(genome) == len(genes) and all(
            type(value) is int and 0 <= value < count for value, count in zip(genome, genes, strict=True)
        )
        is_share = type(accuracy) in (int, float) and 0.0 <= accuracy <= 1.0
        if is_genome and type(generation) is int and generation >= 0 and is_share:
            return Score(tuple(genome), generation, float(accuracy))
    except (UnreadableFile, ValueError, TypeError):
        pass
    return None
