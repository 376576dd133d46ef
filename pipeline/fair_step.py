"""One supernet step of FairNAS, Algorithm 1: m paths forward and backward on the same batch, gradients added up."""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal

import numpy as np
import torch
from torch import Tensor

from ..models import Supernet


def accumulate_fair_gradients(
    supernet: Supernet,
    images: Tensor,
    labels: Tensor,
    paths: np.ndarray,
    loss: Callable[[Tensor, Tensor], Tensor],
    *,
    shared_gradients: Literal["sum", "mean"] = "sum",
) -> Tensor:
    """Add the gradients of every path to the supernet's parameters; the caller clears them before and updates after.

    Args:
        supernet: in training mode.
        images: `[B, C, H, W]`.
        labels: `[B]`.
        paths: choice indices `[m, layers]`, every column a permutation of the choices.
        loss: of logits `[B, classes]` and labels, to a scalar.
        shared_gradients: a choice block gets one gradient per step, stem and head get m. The paper's text leaves them
            as the sum; `mean` divides them by m, as if stem and head had a learning rate of lr / m.

    Returns:
        The mean loss of the paths, detached.
    """
    total = torch.zeros((), device=images.device)
    for path in paths.tolist():
        path_loss = loss(supernet(images, path), labels)
        path_loss.backward()
        total += path_loss.detach()
    if shared_gradients == "mean":
        for parameter in supernet.shared_parameters():
            if parameter.grad is not None:
                parameter.grad /= len(paths)
    return total / len(paths)
