"""Scoring by the ranks that `torchrun` starts: the first one searches, the others score what it sends them.

Messages are tensors on CPUs, a few kilobytes per generation, so gloo carries them also where the ranks score on GPUs.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from datetime import timedelta
from itertools import chain

import torch
from torch import Tensor, distributed

from ...models import Architecture
from ..errors import UserError
from .scoring import Advance, Scorer, SharedScorer, split

_WAIT = timedelta(days=30)  # the others wait while the first one trains the supernet
_WEIGHTS, _SCORE = 1, 2  # kinds of messages; 0 ends the conversation


def is_first() -> bool:
    """Whether this process leads: it is rank 0, or torchrun did not start it."""
    return int(os.environ.get("RANK", "0")) == 0


def are_several() -> bool:
    """Whether torchrun started more than one process."""
    return int(os.environ.get("WORLD_SIZE", "1")) > 1


@contextmanager
def joined() -> Iterator[None]:
    """The ranks as one group, which the first one sends home at the end; nothing where torchrun started no others."""
    if not are_several():
        yield
        return
    if torch.cuda.is_available():
        torch.cuda.set_device(int(os.environ.get("LOCAL_RANK", "0")) % torch.cuda.device_count())
    distributed.init_process_group("gloo", timeout=_WAIT)
    try:
        yield
    finally:
        if is_first():
            _send(0, torch.empty(0, 0, dtype=torch.uint8))
        distributed.destroy_process_group()


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
        _send(_WEIGHTS, torch.frombuffer(bytearray(digest.encode() + b"\n" + weights), dtype=torch.uint8)[None])

    def score_all(self, architectures: Sequence[Architecture], advance: Advance) -> list[float]:
        """As `Scorer.score_all`; `advance` hears of the other ranks' scores when all are known."""
        if not architectures:
            return []
        paths = torch.tensor([architecture.choices for architecture in architectures])
        _send(_SCORE, paths)
        parts = split(architectures, self._count)
        own = self._own.score_all(parts[0], advance)
        gathered = _gather(own, parts)
        for accuracy in chain.from_iterable(gathered[1:]):
            advance(accuracy)
        return list(chain.from_iterable(gathered))


def follow(build: Callable[[bytes], Scorer], architecture: Callable[[list[int]], Architecture], digest: str) -> None:
    """What every rank but the first does: score what it is sent, until it is sent home.

    Args:
        build: makes a scorer from the content of a supernet's weights file.
        architecture: makes one from choice indices.
        digest: of this rank's images.

    Raises:
        UserError: the first rank has other images, or is gone.
    """
    scorer: Scorer | None = None
    while True:
        try:
            kind, content = _receive()
        except RuntimeError:
            raise UserError("the first rank is gone: start torchrun again to go on") from None
        if kind == _WEIGHTS:
            theirs, _, weights = content.numpy().tobytes().partition(b"\n")
            if theirs.decode() != digest:
                rank = distributed.get_rank()
                raise UserError(f"rank {rank} has other images than rank 0: give all the same --data")
            scorer = build(weights)
        elif kind == _SCORE:
            assert scorer is not None  # weights come first
            parts = split([architecture(path) for path in content.tolist()], distributed.get_world_size())
            _gather(scorer.score_all(parts[distributed.get_rank()], lambda _: None), parts)
        else:
            return


def _send(kind: int, content: Tensor) -> None:
    """From the first rank to all others: two-dimensional, uint8 or int64."""
    distributed.broadcast(torch.tensor([kind, *content.shape]), src=0)
    if content.numel():
        distributed.broadcast(content.contiguous(), src=0)


def _receive() -> tuple[int, Tensor]:
    header = torch.zeros(3, dtype=torch.int64)
    distributed.broadcast(header, src=0)
    kind, *shape = header.tolist()
    content = torch.zeros(shape, dtype=torch.int64 if kind == _SCORE else torch.uint8)
    if content.numel():
        distributed.broadcast(content, src=0)
    return kind, content


def _gather(own: Sequence[float], parts: Sequence[Sequence[object]]) -> list[list[float]]:
    """Every rank's accuracies, on every rank."""
    longest = max(map(len, parts))
    padded = torch.zeros(longest, dtype=torch.float64)
    padded[: len(own)] = torch.tensor(own, dtype=torch.float64)
    gathered = [torch.zeros_like(padded) for _ in parts]
    distributed.all_gather(gathered, padded)
    return [scores[: len(part)].tolist() for scores, part in zip(gathered, parts, strict=True)]
