"""The gradients of one supernet update: several paths forward and backward, gradients added up."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Literal

import torch
from torch import Tensor

from ...models import AnySupernet

# One choice index per layer; One-Shot takes a set of them.
SampledPath = list[int] | list[tuple[int, ...]]
Batch = tuple[Tensor, Tensor]


def accumulate_gradients(
    supernet: AnySupernet,
    batches: Sequence[Batch],
    paths: Sequence[SampledPath],
    loss: Callable[[Tensor, Tensor], Tensor],
    *,
    shared_gradients: Literal["sum", "mean"] = "sum",
) -> Tensor:
    """Add the gradients of every path to the supernet's parameters; the caller clears them before and updates after.

    Strict fairness gives one batch and m paths whose every layer is a permutation of the choices (FairNAS,
    Algorithm 1).

    Args:
        supernet: in training mode.
        batches: images `[B, C, H, W]` and labels `[B]`: one that all paths see, or one for each path.
        paths: what is trained.
        loss: of logits `[B, classes]` and labels, to a scalar.
        shared_gradients: of n different paths, stem and head get n gradients, where a choice block gets one. The
            paper's text leaves them as the sum; `mean` divides them by n, as if stem and head had a learning rate of
            lr / n.

    Returns:
        The mean loss of the paths, detached.
    """
    if len(batches) == 1:
        batches = [batches[0]] * len(paths)
    total = torch.zeros((), device=batches[0][0].device)
    for (images, labels), path in zip(batches, paths, strict=True):
        path_loss = loss(supernet(images, path), labels)
        path_loss.backward()
        total += path_loss.detach()
    different = len({tuple(path) for path in paths})
    if shared_gradients == "mean" and different > 1:
        for parameter in supernet.shared_parameters():
            if parameter.grad is not None:
                parameter.grad /= different
    return total / len(paths)
