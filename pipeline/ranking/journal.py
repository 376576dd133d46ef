"""One-shot scores as they come in, so that scoring thousands of architectures may be interrupted."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Protocol

from ...common.errors import UnreadableFile
from ...common.reading import parse_json
from ...common.text import shown
from ...models import Architecture
from ..console import console, progress_bar
from ..runs.digested_lines import DigestedLines

CHUNK = 128
"""Architectures scored between two lines of the journal: at most their scores are lost by a kill."""


class Scorer(Protocol):
    """What scores many architectures: `evaluate.PathScorer`."""

    def score_all(self, architectures: Sequence[Architecture], advance: Callable[[float], None]) -> list[float]:
        """One score per architecture; `advance` is told each as it is known."""
        ...


class ScoreJournal:
    """Appends scores to a file, a chunk per line, and never scores what is already in it.

    Args:
        path: of the file; a line torn by a kill is ignored, and overwritten by what follows it. Lines that are not as
            they were written, and those after them, are scored again.
        owner: whose scores they are.
    """

    def __init__(self, path: Path, owner: str = "") -> None:
        self._scores: dict[str, dict[str, float]] = {}
        self.seconds: dict[str, float] = {}
        self._lines = DigestedLines(path, owner)
        damage = self._lines.damage
        for number, line in enumerate(self._lines.lines):
            if (row := _read(line)) is None:
                damage = f"holds no scores in line {number + 1}"
                self._lines.keep(number)
                break
            self._take(*row)
        if damage:
            console.print(f"[yellow]{shown(path)} {damage}: what it lacks is scored again[/]", soft_wrap=True)

    def score(self, series: str, architectures: Sequence[Architecture], scorer: Callable[[], Scorer]) -> list[float]:
        """Scores of architectures, in their order.

        Args:
            series: what the scores have in common, such as the batch-norm mode; scores of other series do not count.
            architectures: what to score.
            scorer: makes the scorer; called only where something is missing.
        """
        known = self._scores.setdefault(series, {})
        # In this order neighbours share the beginning of their paths, which a scorer may compute once.
        missing = sorted((a for a in dict.fromkeys(architectures) if str(a) not in known), key=lambda a: a.choices)
        if missing:
            made = scorer()
            done = len(architectures) - len(missing)
            with progress_bar(f"one-shot scores, {series}", len(architectures), done) as bar:
                for start in range(0, len(missing), CHUNK):
                    chunk = missing[start : start + CHUNK]
                    started = time.monotonic()
                    scores = made.score_all(chunk, lambda score: bar.advance(f"top-1 {score:.1%}"))
                    found = {str(architecture): score for architecture, score in zip(chunk, scores, strict=True)}
                    self._add(series, found, time.monotonic() - started)
        return [known[str(architecture)] for architecture in architectures]

    def remove(self) -> None:
        """Remove the files."""
        self._lines.remove()

    def _add(self, series: str, found: dict[str, float], seconds: float) -> None:
        self._lines.append([json.dumps({"series": series, "seconds": round(seconds, 3), "scores": found})])
        self._lines.sync()
        self._take(series, found, seconds)

    def _take(self, series: str, found: dict[str, float], seconds: float) -> None:
        self._scores.setdefault(series, {}).update(found)
        self.seconds[series] = self.seconds.get(series, 0.0) + seconds


def _read(line: str) -> tuple[str, dict[str, float], float] | None:
    """A line's series, scores and seconds."""
    try:
        row = parse_json(line, "a line")
        series, scores, seconds = row["series"], row["scores"], row["seconds"]
        if isinstance(series, str) and seconds >= 0 and all(0.0 <= score <= 1.0 for score in scores.values()):
            return series, scores, seconds
    except (UnreadableFile, KeyError, TypeError, AttributeError):
        pass
    return None
