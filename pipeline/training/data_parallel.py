"""Data-parallel training: each rank trains its part of every batch, and one all-reduce adds up the gradients.

Without DistributedDataParallel: it would divide by the number of ranks, whatever their parts, and overlaps the exchange
with the backward pass in buckets that networks of a few million parameters do not fill. Batch norm sees a rank's own
part, as in the papers' training, where each core of a TPU normalises its own images.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

import torch
from torch import Tensor, distributed, nn

from .. import distributed as ranks
from ..data.batches import part_of
from ..errors import UserError

_SEEDS = 2**63


@dataclass(frozen=True, slots=True)
class Replica:
    """One of the processes that train a network together; the only one, where torchrun started no others.

    Attributes:
        rank: from 0.
        count: how many they are.
    """

    rank: int = 0
    count: int = 1

    @classmethod
    def here(cls) -> Replica:
        """This process, in the group that `ranks.joined` made."""
        return cls(distributed.get_rank(), distributed.get_world_size()) if ranks.are_several() else cls()

    def seed(self, *key: int) -> None:
        """Seed dropout for one update: each rank's own, and the same after a resumption. Alone, it just goes on."""
        if self.count > 1:
            digest = hashlib.sha256(repr((*key, self.rank)).encode()).digest()
            torch.manual_seed(int.from_bytes(digest[:8], "big") % _SEEDS)

    def backward(self, loss: Tensor, parameters: Sequence[nn.Parameter], batch_size: int) -> float:
        """Gradients of the mean loss over the whole batch, on every rank.

        Args:
            loss: mean over this rank's part of the batch.
            parameters: of the network; a parameter that no rank's loss reached keeps no gradient.
            batch_size: images of all parts together.

        Returns:
            The mean loss over the whole batch.

        Raises:
            UserError: another rank is gone.
        """
        if self.count == 1:
            loss.backward()
            return float(loss.detach())
        own = part_of(batch_size, (self.rank, self.count))
        loss = loss * ((own.stop - own.start) / batch_size)
        loss.backward()
        trained = [parameter for parameter in parameters if parameter.requires_grad]
        reached = torch.tensor([parameter.grad is not None for parameter in trained], device=loss.device)
        gradients = [torch.zeros_like(p) if p.grad is None else p.grad for p in trained]
        # The loss and what was reached travel with the gradients: one exchange per update.
        flat = torch.cat([*(gradient.flatten() for gradient in gradients), reached.to(loss), loss.detach()[None]])
        with _others_are_there():
            distributed.all_reduce(flat)
        *sums, reached, total = flat.split([*(gradient.numel() for gradient in gradients), len(trained), 1])
        for parameter, gradient, added, is_reached in zip(trained, gradients, sums, reached.tolist(), strict=True):
            if is_reached:
                parameter.grad = gradient.copy_(added.view_as(gradient))
        return float(total)

    def share_buffers(self, network: nn.Module) -> None:
        """Give every rank the first one's buffers: statistics of batch norm, which each rank has of its own part.

        Raises:
            UserError: another rank is gone.
        """
        if self.count > 1:
            with _others_are_there():
                for buffer in network.buffers():
                    distributed.broadcast(buffer, src=0)

    def is_same(self, network: nn.Module) -> bool:
        """Whether all ranks hold the same parameters and buffers, bit for bit; all ranks get the same answer.

        Raises:
            UserError: another rank is gone.
        """
        if self.count == 1:
            return True
        own = torch.tensor([_checksum(network)])
        checksums = [torch.zeros_like(own) for _ in range(self.count)]
        with _others_are_there():
            distributed.all_gather(checksums, own)
        return len({int(checksum) for checksum in checksums}) == 1


@contextmanager
def _others_are_there() -> Iterator[None]:
    """One line instead of a traceback when a rank has ended, which the exchange notices."""
    try:
        yield
    except RuntimeError as error:
        raise UserError(f"{ranks.GONE} ({' '.join(str(error).split())[:80]})") from error


def _checksum(network: nn.Module) -> int:
    digest = hashlib.sha256()
    for tensor in network.state_dict().values():
        digest.update(tensor.detach().cpu().contiguous().view(-1).view(torch.uint8).numpy().tobytes())
    return int.from_bytes(digest.digest()[:7], "big")
