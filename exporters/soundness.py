"""Whether a network can be exported at all: its weights are numbers, and so are its answers, twice the same."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _NormBase
from torch.nn.parameter import is_lazy


def require_finite(network: nn.Module) -> None:
    """Refuse weights that are no numbers, as of a training that diverged.

    Raises:
        ValueError: a parameter, or a statistic of a norm, is NaN or infinite, or another buffer NaN; names it.
    """
    statistics = {
        f"{path}.{name}".lstrip(".")
        for path, module in network.named_modules()
        if isinstance(module, _NormBase)
        for name, _ in module.named_buffers(recurse=False)
    }
    for name, tensor in (*network.named_parameters(), *network.named_buffers()):
        if is_lazy(tensor) or not tensor.is_floating_point():
            continue
        # Masks of attention are infinite for a reason.
        must_be_finite = isinstance(tensor, nn.Parameter) or name in statistics
        wrong = ~tensor.isfinite() if must_be_finite else tensor.isnan()
        if count := int(wrong.sum()):
            kind = "NaN" if bool(tensor.isnan().any()) else "infinite"
            raise ValueError(
                f"{count} of {tensor.numel()} numbers of its tensor '{name}' are {kind}: did its training diverge?"
            )


@torch.no_grad()
def require_sound(network: nn.Module, images: Tensor, tolerance: float) -> None:
    """Refuse a network whose answers are no numbers, or differ from one time to the next.

    Args:
        network: in evaluation mode.
        images: real ones, preprocessed, `[N, C, H, W]`.
        tolerance: largest difference between two answers that passes, relative to the largest logit.

    Raises:
        ValueError: the network cannot take these images, or see above.
    """
    try:
        first, second = network(images), network(images)
    except Exception as error:  # whatever the user's code raises
        text = " ".join(f"{type(error).__name__}: {error}".split())
        raise ValueError(f"the network cannot take {len(images)} images at a time: {text[:300]}") from error
    if first.shape[0] != len(images) or first.ndim != 2:
        raise ValueError(
            f"the network answers {len(images)} images with {list(first.shape)} numbers, not [batch, classes]"
        )
    if not bool(first.isfinite().all()):
        raise ValueError("its answers to real images are no numbers (NaN or infinite): did its training diverge?")
    same = first.shape == second.shape
    if not same or float((first - second).abs().max()) > tolerance * max(float(first.abs().max()), 1e-30):
        raise ValueError("its answers are random, never twice the same: has it dropout that is always on?")
