"""Ranks: the processes that `torchrun` starts. The first one leads, and the others do what it sends them.

Only the first rank has a run folder, knows what is done already, and speaks. Messages are tensors on CPUs, which gloo
carries also where the work is done on GPUs.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from datetime import timedelta
from enum import IntEnum

import torch
from torch import Tensor, distributed

from .errors import UserError

_WAIT = timedelta(days=30)  # the others wait while the first one trains the supernet
GONE = "another rank is gone: start torchrun again to go on"


class Message(IntEnum):
    """What the first rank sends."""

    END = 0
    SUPERNET = 1  # to score with
    SCORE = 2
    TRAIN = 3


def is_first() -> bool:
    """Whether this process leads: it is rank 0, or torchrun did not start it."""
    return int(os.environ.get("RANK", "0")) == 0


def are_several() -> bool:
    """Whether torchrun started more than one process."""
    return int(os.environ.get("WORLD_SIZE", "1")) > 1


def on_this_machine() -> int:
    """How many ranks share this machine."""
    return int(os.environ.get("LOCAL_WORLD_SIZE", "1"))


@contextmanager
def joined() -> Iterator[None]:
    """The ranks as one group, which the first one sends home at the end; nothing where torchrun started no others.

    Each rank has a GPU of its own where there are enough. NCCL then carries what lies on them; it refuses GPUs that
    ranks share, which gloo serves.
    """
    if not are_several():
        yield
        return
    gpus = torch.cuda.device_count()
    if gpus:
        torch.cuda.set_device(int(os.environ.get("LOCAL_RANK", "0")) % gpus)
    backend = "cpu:gloo,cuda:nccl" if gpus >= on_this_machine() and distributed.is_nccl_available() else "gloo"
    distributed.init_process_group(backend, timeout=_WAIT)
    try:
        yield
    finally:
        if distributed.is_initialized():
            if is_first():
                with suppress(RuntimeError):  # one that is gone needs not be sent home
                    send(Message.END)
            distributed.destroy_process_group()


@contextmanager
def in_step() -> Iterator[None]:
    """Around work in which all ranks take part without messages.

    If it fails here, the others wait for their part of the work and would hear no message: the group is left, which
    they notice.
    """
    try:
        yield
    except BaseException:
        if distributed.is_initialized():
            distributed.destroy_process_group()
        raise


def send(kind: Message, content: Tensor | bytes = b"") -> None:
    """From the first rank to all others.

    Args:
        kind: of message.
        content: bytes, or an int64 tensor of two dimensions.
    """
    tensor = _from_bytes(content) if isinstance(content, bytes) else content.contiguous()
    distributed.broadcast(torch.tensor([kind, *tensor.shape]), src=0)
    if tensor.numel():
        distributed.broadcast(tensor, src=0)


def follow(answers: Mapping[Message, Callable[[Tensor], None]]) -> None:
    """What every rank but the first does: answer its messages until it is sent home.

    Args:
        answers: what to do with the content of each kind of message: uint8 `[1, bytes]`, or int64 `[n, m]` of `SCORE`.

    Raises:
        UserError: the first rank is gone.
    """
    while True:
        kind, content = _receive()
        if kind == Message.END:
            return
        answers[kind](content)


def check_images(theirs: str, ours: str) -> None:
    """Refuse to work on other images than the first rank.

    Raises:
        UserError: the digests differ.
    """
    if theirs != ours:
        raise UserError(f"rank {distributed.get_rank()} has other images than rank 0: give all the same --data")


def _receive() -> tuple[Message, Tensor]:
    header = torch.zeros(3, dtype=torch.int64)
    try:
        distributed.broadcast(header, src=0)
        kind, *shape = header.tolist()
        content = torch.zeros(shape, dtype=torch.int64 if kind == Message.SCORE else torch.uint8)
        if content.numel():
            distributed.broadcast(content, src=0)
    except RuntimeError:
        raise UserError(GONE) from None
    return Message(kind), content


def _from_bytes(content: bytes) -> Tensor:
    return torch.frombuffer(bytearray(content), dtype=torch.uint8)[None] if content else torch.empty(0, 0)
