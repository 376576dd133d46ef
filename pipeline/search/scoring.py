"""Who scores the architectures of a generation: one scorer, or several that share them."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from itertools import chain, pairwise
from typing import Protocol, TypeVar

import torch

from ...models import Architecture

Advance = Callable[[float], None]
T = TypeVar("T")


class Scorer(Protocol):
    """Gives architectures their one-shot accuracy, the same whatever they are scored with, before or after."""

    def score_all(self, architectures: Sequence[Architecture], advance: Advance) -> list[float]:
        """Accuracies in the order of `architectures`; `advance` is called with each as soon as it is known."""
        ...


class SharedScorer(Scorer, Protocol):
    """Several scorers as one.

    Attributes:
        width: how many score at the same time.
    """

    width: int


class ThreadedScorer:
    """Scorers of one process, a thread each: torch computes outside of Python's global lock.

    Each computes on one thread, however many there are: batch-norm statistics differ in their last bits with the number
    of threads that add them up, and a search must not depend on how many cores it ran on.

    Args:
        make: builds a scorer. Each has a copy of the supernet, so they come to be when they are needed.
        workers: how many; None takes a thread per core on CPUs, and one on GPUs.
    """

    def __init__(self, make: Callable[[], Scorer], workers: int | None) -> None:
        self.width = workers or (1 if torch.cuda.is_available() else torch.get_num_threads())
        self._make = make
        self._scorers: list[Scorer] = []

    def score_all(self, architectures: Sequence[Architecture], advance: Advance) -> list[float]:
        """As `Scorer.score_all`."""
        # Neighbours in this order share the beginnings of their paths, which a scorer computes once.
        order = sorted(range(len(architectures)), key=lambda index: architectures[index].choices)
        parts = [part for part in split([architectures[index] for index in order], self.width) if part]
        while len(self._scorers) < len(parts):
            self._scorers.append(self._make())
        with _one_thread_each(), ThreadPoolExecutor(max(1, len(parts))) as pool:
            scores = pool.map(lambda scorer, part: scorer.score_all(part, advance), self._scorers, parts)
            by_index = dict(zip(order, chain.from_iterable(scores), strict=True))
        return [by_index[index] for index in range(len(architectures))]


def split(items: Sequence[T], count: int) -> list[Sequence[T]]:
    """Cut into `count` runs of neighbours whose lengths differ by one at most."""
    bounds = [len(items) * index // count for index in range(count + 1)]
    return [items[first:last] for first, last in pairwise(bounds)]


@contextmanager
def _one_thread_each() -> Iterator[None]:
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(threads)
