"""What each of several ranks does in the tests of data-parallel training."""

from __future__ import annotations

from typing import Any

import torch
from fairnas.models import build_any_network, parse_any_network
from fairnas.pipeline.data.batches import part_of
from fairnas.pipeline.training.data_parallel import Replica
from torch import Tensor, nn
from torch.nn import functional

IMAGES = 7  # parts of 2 ranks are 3 and 4


def network(kind: str) -> nn.Module:
    """In float64, with batch norm as in evaluation: its batch statistics are not those of a part."""
    torch.manual_seed(0)
    if kind == "timm":
        made = build_any_network(parse_any_network("timm:test_efficientnet"), num_classes=5)
    else:
        made = nn.Sequential(nn.Conv2d(3, 8, 3), nn.Hardswish(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(8, 5))
    return made.double().eval().to(memory_format=torch.channels_last)  # pyright: ignore[reportCallIssue]


def batch() -> tuple[Tensor, Tensor]:
    """The whole batch."""
    generator = torch.Generator().manual_seed(1)
    images = torch.randn(IMAGES, 3, 32, 32, generator=generator, dtype=torch.float64)
    return images.to(memory_format=torch.channels_last), torch.arange(IMAGES) % 5


def loss_of(trained: nn.Module, images: Tensor, labels: Tensor) -> Tensor:
    """Mean loss of a batch or of a part of it."""
    return functional.cross_entropy(trained(images), labels, label_smoothing=0.1)


def differences(kind: str) -> dict[str, float]:
    """How far gradients and loss of the ranks together are from those of one process, which this rank computes too."""
    alone, divided = network(kind), network(kind)
    images, labels = batch()
    loss = Replica().backward(loss_of(alone, images, labels), list(alone.parameters()), IMAGES)
    here = Replica.here()
    own = part_of(IMAGES, (here.rank, here.count))
    shared = here.backward(loss_of(divided, images[own], labels[own]), list(divided.parameters()), IMAGES)
    pairs = list(zip(alone.parameters(), divided.parameters(), strict=True))
    assert all(p.grad is not None and q.grad is not None and p.grad.abs().max() > 0 for p, q in pairs)
    worst = max(float((p.grad - q.grad).abs().max()) for p, q in pairs)  # type: ignore[operator]
    return {"gradients": worst, "loss": abs(loss - shared)}


def gradients() -> dict[str, Any]:
    """Of a network of convolutions, and of one with batch norm and squeeze-and-excitation."""
    return {kind: differences(kind) for kind in ("plain", "timm")}


def reached() -> list[float | None]:
    """Gradients of a parameter that every rank's loss reaches, one that only rank 1's does, and one that none does."""
    here = Replica.here()
    every, one, none = (nn.Parameter(torch.ones(1)) for _ in range(3))
    loss = (every * 2 + (one * 3 if here.rank == 1 else 0)).sum()
    here.backward(loss, [every, one, none], batch_size=4)
    return [None if p.grad is None else float(p.grad) for p in (every, one, none)]


def sameness() -> dict[str, bool]:
    """Whether ranks notice a difference in one weight's last bit, and in a buffer until it is shared."""
    here, trained = Replica.here(), network("timm").float()
    found = {"at first": here.is_same(trained)}
    mean = trained.get_buffer("bn1.running_mean")
    mean += here.rank
    found["other statistics"] = here.is_same(trained)
    here.share_buffers(trained)
    found["shared statistics"] = here.is_same(trained) and bool((mean == 0).all())
    weight = trained.get_parameter("classifier.weight").data
    if here.rank == 1:
        weight[0, 0] = torch.nextafter(weight[0, 0], torch.tensor(2.0))
    found["one bit"] = here.is_same(trained)
    return found


def dropout() -> list[list[float]]:
    """What dropout keeps in updates 0, 1 and again 0."""
    here, masks = Replica.here(), []
    for step in (0, 1, 0):
        here.seed(5, step)
        masks.append(functional.dropout(torch.ones(16)).tolist())
    return masks
