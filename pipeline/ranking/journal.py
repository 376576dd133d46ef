"""One-shot scores as they come in, so that scoring thousands of architectures may be interrupted."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Protocol

from ...models import Architecture
from ..console import progress_bar

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
        path: of the file; a line torn by a kill is ignored, and overwritten by what follows it.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._scores: dict[str, dict[str, float]] = {}
        self.seconds: dict[str, float] = {}
        if path.exists():
            self._read()

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

    def _add(self, series: str, found: dict[str, float], seconds: float) -> None:
        line = json.dumps({"series": series, "seconds": round(seconds, 3), "scores": found})
        with self._path.open("a") as file:
            file.write(line + "\n")
            file.flush()
            os.fsync(file.fileno())
        self._take(series, found, seconds)

    def _take(self, series: str, found: dict[str, float], seconds: float) -> None:
        self._scores.setdefault(series, {}).update(found)
        self.seconds[series] = self.seconds.get(series, 0.0) + seconds

    def _read(self) -> None:
        content = self._path.read_bytes()
        whole = content[: content.rfind(b"\n") + 1]
        if len(whole) < len(content):
            os.truncate(self._path, len(whole))
        for line in whole.splitlines():
            row = json.loads(line)
            self._take(row["series"], row["scores"], row["seconds"])
