"""Scoring by all ranks: the first one searches, the others score what it sends them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import chain

import torch
from torch import Tensor, distributed

from ...models import Architecture
from ..distributed import Message, check_images, send
from .scoring import Advance, Scorer, SharedScorer, split


class RankedScorer:
    """What the first rank scores with: all ranks, each with its part.

    Args:
        own: of this rank.
        weights: content of the supernet's weights file, for the others.
        digest: of the images, which must be the same everywhere.
    """

    def __init__(self, own: SharedScorer, weights: bytes, digest: str) -> None:
        self._own, self._count = own, distributed.get_world_size()
        self.width = own.width * self._count
        send(Message.SUPERNET, digest.encode() + b"\n" + weights)

    def score_all(self, architectures: Sequence[Architecture], advance: Advance) -> list[float]:
        """As `Scorer.score_all`; `advance` hears of the other ranks' scores when all are known."""
        if not architectures:
            return []
        send(Message.SCORE, torch.tensor([architecture.choices for architecture in architectures]))
        parts = split(architectures, self._count)
        own = self._own.score_all(parts[0], advance)
        gathered = _gather(own, parts)
        for accuracy in chain.from_iterable(gathered[1:]):
            advance(accuracy)
        return list(chain.from_iterable(gathered))


class FollowingScorer:
    """What every other rank does with the messages of a `RankedScorer`.

    Args:
        build: makes a scorer from the content of a supernet's weights file.
        architecture: makes one from choice indices.
        digest: of this rank's images.
    """

    def __init__(
        self, build: Callable[[bytes], Scorer], architecture: Callable[[list[int]], Architecture], digest: str
    ) -> None:
        self._build, self._architecture, self._digest = build, architecture, digest
        self._scorer: Scorer | None = None

    def take_supernet(self, content: Tensor) -> None:
        """Answer `Message.SUPERNET`.

        Raises:
            UserError: the first rank has other images.
        """
        digest, _, weights = content.numpy().tobytes().partition(b"\n")
        check_images(digest.decode(), self._digest)
        self._scorer = self._build(weights)

    def score(self, content: Tensor) -> None:
        """Answer `Message.SCORE`: an architecture's choices per row."""
        assert self._scorer is not None  # the supernet comes first
        parts = split([self._architecture(path) for path in content.tolist()], distributed.get_world_size())
        _gather(self._scorer.score_all(parts[distributed.get_rank()], lambda _: None), parts)


def _gather(own: Sequence[float], parts: Sequence[Sequence[object]]) -> list[list[float]]:
    """Every rank's accuracies, on every rank."""
    longest = max(map(len, parts))
    padded = torch.zeros(longest, dtype=torch.float64)
    padded[: len(own)] = torch.tensor(own, dtype=torch.float64)
    gathered = [torch.zeros_like(padded) for _ in parts]
    distributed.all_gather(gathered, padded)
    return [scores[: len(part)].tolist() for scores, part in zip(gathered, parts, strict=True)]
