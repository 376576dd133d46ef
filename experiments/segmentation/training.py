"""Training of one segmenter: crops, AdamW, the polynomial schedule of DeepLab; resumable after every epoch."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from pydantic import Field
from torch import nn
from torch.nn import functional

from ...common.settings import Section
from ...exporters.backbones.deeplab import Segmenter
from ...pipeline.console import progress_bar
from ...pipeline.runs import stopping
from ...pipeline.runs.run import Workspace
from ...pipeline.training.diverged import Watch
from ...pipeline.training.schedule import make_scheduler
from ...pipeline.training.shared import Metrics, are_rows, to_device, training_device
from .miou import Confusion
from .scenes import IGNORED, Scenes, augmentation, eval_batches, train_batches

EVAL_BATCH = 16


class Recipe(Section):
    """How segmenters are trained; the same for all backbones that are compared."""

    epochs: int = Field(default=12, ge=1)
    batch_size: int = Field(default=8, ge=2)
    crop: int = Field(default=160, ge=32, description="height and width of training images, in pixels")
    smallest_part: float = Field(default=0.3, gt=0, le=1, description="of a picture's area that a crop shows")
    lr: float = Field(default=1e-3, gt=0)
    weight_decay: float = Field(default=1e-2, ge=0)
    power: float = Field(default=0.9, gt=0, description="of the polynomial schedule (DeepLab)")
    warmup_epochs: int = Field(default=1, ge=0)
    checkpoint_seconds: float = Field(default=30.0, ge=0)


@dataclass(frozen=True)
class Trained:
    """What training left.

    Attributes:
        loss: mean cross-entropy of the last epoch.
        seconds: of training, without interruptions.
    """

    loss: float
    seconds: float


def train(name: str, segmenter: Segmenter, scenes: Scenes, recipe: Recipe, seed: int, workspace: Workspace) -> Trained:
    """Train a segmenter in place; an unfinished training in the workspace goes on from its last whole epoch.

    Every epoch's order, crops and dropout come from (seed, epoch), so an interruption changes nothing.

    Raises:
        Paused: the workspace's deadline has passed.
        UserError: the training diverged, or the checkpoints of an unfinished one are damaged.
    """
    device = training_device()
    to_device(segmenter, device)
    # In as few updates as these, SGD at DeepLab's rates reached a sixth less mIoU (FairNAS-C, 2 epochs, on val).
    optimizer = torch.optim.AdamW(segmenter.parameters(), lr=recipe.lr, weight_decay=recipe.weight_decay)
    steps = len(scenes) // recipe.batch_size
    scheduler = make_scheduler(
        optimizer,
        "poly",
        epochs=recipe.epochs,
        warmup_epochs=min(recipe.warmup_epochs, recipe.epochs - 1),
        steps_per_epoch=steps,
        decay_rate=recipe.power,
    )
    transform = augmentation(recipe.crop, recipe.smallest_part)
    checkpoint = workspace.checkpoint(recipe.checkpoint_seconds)
    metrics = Metrics(workspace.folder / "metrics.jsonl")

    watch = Watch(name, [f"Lower lr ({recipe.lr:g})"], segmenter)

    def content() -> dict[str, Any]:
        return {"segmenter": segmenter.state_dict(), "optimizer": optimizer.state_dict(), "metrics": metrics.rows}

    def state() -> dict[str, Any]:
        watch.check_weights(f"epoch {len(metrics.rows)}")
        return content()

    def check(saved: Mapping[str, Any]) -> str | None:
        rows = saved["metrics"]
        if not are_rows(rows) or [row.get("epoch") for row in rows] != list(range(len(rows))):
            return "does not hold the metrics of whole epochs"
        return None if len(rows) <= recipe.epochs else f"is of epoch {len(rows)} of {recipe.epochs}"

    saved = checkpoint.load(content(), check)
    if saved is not None:
        segmenter.load_state_dict(saved["segmenter"])
        optimizer.load_state_dict(saved["optimizer"])
        metrics.rows = saved["metrics"]
    segmenter.train()
    progress = progress_bar(name, recipe.epochs * steps, len(metrics.rows) * steps)
    with stopping.between_steps(), progress as bar:
        for epoch in range(len(metrics.rows), recipe.epochs):
            started, total = time.monotonic(), 0.0
            torch.manual_seed(_seed_of(seed, epoch))
            for step, (images, labels) in enumerate(train_batches(scenes, recipe.batch_size, transform)):
                scheduler.step_update(epoch * steps + step)
                if bool((labels == IGNORED).all()):  # whose mean loss is no number
                    bar.advance()
                    continue
                optimizer.zero_grad(set_to_none=True)
                logits = segmenter(images.to(device))
                loss = functional.cross_entropy(logits, labels.to(device), ignore_index=IGNORED)
                loss.backward()
                optimizer.step()
                value = float(loss.detach())
                watch.check_loss(value, f"step {step + 1} of {steps} of epoch {epoch + 1}")
                total += value
                bar.advance(f"loss {value:.3f}")
            metrics.add(epoch=epoch, train_loss=total / steps, seconds=round(time.monotonic() - started, 2))
            metrics.write()
            checkpoint.save_if_due(state)
    checkpoint.save(state())
    return Trained(metrics.rows[-1]["train_loss"], round(sum(row["seconds"] for row in metrics.rows), 1))


def _seed_of(seed: int, epoch: int) -> int:
    return int(torch.randint(2**62, (), generator=torch.Generator().manual_seed(seed * 100_003 + epoch)))


@torch.inference_mode()
def evaluate(segmenter: nn.Module, scenes: Scenes, classes: int) -> Confusion:
    """Answers on whole pictures, at one scale and not mirrored, as in the paper (sec. 4.5)."""
    device = training_device()
    to_device(segmenter, device).eval()
    confusion = Confusion(classes)
    for images, labels in eval_batches(scenes, EVAL_BATCH):
        confusion.add(segmenter(images.to(device)).argmax(1).cpu(), labels)
    return confusion
