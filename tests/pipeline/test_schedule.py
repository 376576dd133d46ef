"""Learning rates: first and last of a schedule, warm-up, and that update n needs nothing but n."""

from __future__ import annotations

import math
from itertools import pairwise

import pytest
import torch
from fairnas.pipeline.training.schedule import make_scheduler

LR = 0.045
STEPS = 10


def rates(name: str, epochs: int, warmup: int = 0, updates: list[int] | None = None, **options: float) -> list[float]:
    """Learning rate of each update."""
    optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=LR)
    scheduler = make_scheduler(optimizer, name, epochs=epochs, warmup_epochs=warmup, steps_per_epoch=STEPS, **options)
    found: list[float] = []
    for update in range(epochs * STEPS) if updates is None else updates:
        scheduler.step_update(update)
        found.append(optimizer.param_groups[0]["lr"])
    return found


@pytest.mark.parametrize("epochs", [1, 2, 7, 150])
def test_cosine_falls_from_the_base_rate_to_nearly_zero(epochs: int) -> None:
    total = epochs * STEPS
    found = rates("cosine", epochs)
    assert found == pytest.approx([LR * (1 + math.cos(math.pi * n / total)) / 2 for n in range(total)], rel=1e-9)
    assert found[0] == LR
    # One more update would have had a rate of 0.
    assert 0 < found[-1] < LR * (math.pi / total) ** 2 / 2
    assert all(later < earlier for earlier, later in pairwise(found))


@pytest.mark.parametrize(("epochs", "warmup"), [(3, 1), (20, 5)])
def test_warm_up_rises_to_the_base_rate_and_counts_as_part_of_all_epochs(epochs: int, warmup: int) -> None:
    found = rates("cosine", epochs, warmup)
    rising = warmup * STEPS
    assert found[0] == pytest.approx(1e-6)
    assert found[:rising] == pytest.approx([1e-6 + (LR - 1e-6) * n / rising for n in range(rising)], rel=1e-9)
    assert found[rising] == LR
    assert max(found) == LR
    assert found[rising:] == pytest.approx(rates("cosine", epochs - warmup), rel=1e-9)


def test_a_staircase_decays_every_so_many_epochs_after_warm_up() -> None:
    found = rates("step", 20, warmup=5, decay_epochs=2.4, decay_rate=0.97)
    assert found[50] == LR
    distinct = sorted(set(found[50:]), reverse=True)
    assert distinct == pytest.approx([LR * 0.97**n for n in range(len(distinct))], rel=1e-9)
    # 15 epochs in stairs of 2.4 are 7 stairs, of 24 updates each.
    assert [found[50:].count(rate) for rate in distinct] == [24] * 6 + [6]


@pytest.mark.parametrize("name", ["cosine", "tanh", "step", "poly"])
def test_a_resumed_run_has_the_same_rates(name: str) -> None:
    whole = rates(name, 6, warmup=2)
    assert rates(name, 6, warmup=2, updates=list(range(37, 60))) == whole[37:]
    assert all(math.isfinite(rate) and rate > 0 for rate in whole)
