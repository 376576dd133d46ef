"""Learning-rate schedules: timm's, stepped per update, so that a resumed run needs only the update's number."""

from __future__ import annotations

from typing import Any

import torch
from timm.scheduler import create_scheduler_v2
from timm.scheduler.scheduler import Scheduler


def make_scheduler(
    optimizer: torch.optim.Optimizer,
    name: str,
    *,
    epochs: int,
    warmup_epochs: float,
    steps_per_epoch: int,
    **options: Any,
) -> Scheduler:
    """A schedule whose `step_update(n)` sets the learning rate of update n, n from 0.

    Warm-up comes before the schedule and adds to its length being `epochs` in all, so the rate reaches the base rate
    when warm-up ends and its final value after the last update.
    """
    scheduler, _ = create_scheduler_v2(
        optimizer,
        sched=name,
        num_epochs=epochs - int(warmup_epochs),
        warmup_epochs=int(warmup_epochs),
        warmup_prefix=True,
        warmup_lr=1e-6,
        step_on_epochs=False,
        updates_per_epoch=steps_per_epoch,
        **options,
    )
    assert scheduler is not None
    return scheduler
