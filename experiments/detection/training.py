"""Training and judging one detector with MMEngine's runner, resumable and quiet but for a progress bar."""

from __future__ import annotations

import io
import shutil
import time
import warnings
from collections.abc import Sequence
from contextlib import redirect_stdout
from pathlib import Path
from typing import Any

import numpy as np
from pydantic import BaseModel, ConfigDict, Field
from torch import nn

from ...common.files import write_json
from ...exporters.backbones.mmdet import retinanet_config
from ...pipeline.console import Bar, progress_bar
from .people import People

# `exporters.mmdet` has said by now what to install.
from mmengine.hooks import Hook  # isort: skip  # pyright: ignore[reportMissingImports]
from mmengine.runner import Runner  # isort: skip  # pyright: ignore[reportMissingImports]

CHECKPOINT_EVERY = 25
"""Iterations; less than a minute of work."""
METRICS = {"ap": "mAP", "ap50": "mAP_50", "ap75": "mAP_75"}
LOSSES = 10
"""Iterations whose mean loss is stated, at the beginning and at the end."""


class Recipe(BaseModel):
    """How every detector is trained.

    Attributes:
        size: longer side of the pictures, in pixels.
        batch_size: pictures per iteration.
        lr: of AdamW, after a warm-up and falling to 0 along a cosine.
        overfit_iterations: to learn a few pictures by heart.
        iterations: of the training.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    size: int = Field(256, ge=32, multiple_of=32)
    batch_size: int = Field(8, ge=1)
    lr: float = Field(1e-3, gt=0)
    overfit_iterations: int = Field(80, ge=10)
    iterations: int = Field(400, ge=10)


class _Watch(Hook):
    """Shows progress, and keeps losses and the metrics of the evaluation."""

    def __init__(self, bar: Bar) -> None:
        self.bar = bar
        self.losses: list[float] = []
        self.metrics: dict[str, float] | None = None

    def before_train(self, runner: Any) -> None:
        _seed_batch(runner.seed, runner.iter)

    def after_train_iter(self, runner: Any, batch_idx: int, data_batch: Any = None, outputs: Any = None) -> None:
        self.losses.append(outputs["loss"].item())
        self.bar.advance(f"loss {self.losses[-1]:.3f}")
        _seed_batch(runner.seed, runner.iter + 1)

    def after_val_epoch(self, runner: Any, metrics: dict[str, float] | None = None) -> None:
        self.metrics = metrics


def _seed_batch(seed: int, number: int) -> None:
    """Which pictures of a batch are mirrored follows from its number: the same after an interruption."""
    np.random.seed((seed + 1_000_003 * number) % 2**32)


def train_and_judge(
    arch: str, weights: Path | None, people: People, part: str, judged: str, recipe: Recipe, seed: int, folder: Path
) -> tuple[nn.Module, dict[str, Any]]:
    """Train a RetinaNet on one part of the pictures, and judge it on another with COCO's metric.

    Args:
        arch: of the backbone.
        weights: a classifier's `.safetensors`; None for random weights.
        people: the pictures.
        part: what is trained on; learning `overfit` by heart, pictures are not mirrored.
        judged: what is judged on.
        recipe: how.
        seed: of everything random.
        folder: for checkpoints; what an interrupted call left here is gone on with.

    Returns:
        The detector, on the CPU in evaluation mode, and `ap`, `ap50`, `ap75`, `loss_first`, `loss_last` (means of ten
        iterations) and `seconds` of training and judging; after an interruption these count from there, and no first
        loss is known.
    """
    config = _config(arch, weights, people, part, judged, recipe, seed, folder)
    done = _iterations_done(folder)
    started = time.monotonic()
    # pycocotools prints what it does.
    with (
        progress_bar(f"{arch} {part}", config.train_cfg.max_iters, done) as bar,
        redirect_stdout(io.StringIO()),
        warnings.catch_warnings(),
    ):
        warnings.simplefilter("ignore")  # MMDetection's about packages that nothing here needs
        runner = Runner.from_cfg(config)
        watch = _Watch(bar)
        runner.register_hook(watch, "LOWEST")
        runner.train()
        # Stopped between the last iteration and the evaluation, there was nothing left to train.
        metrics = runner.val() if watch.metrics is None else watch.metrics
    seconds = time.monotonic() - started
    # MMDetection's metric says nothing at all where nothing was found.
    judgement = {name: round(float(metrics.get(f"coco/bbox_{key}", 0)), 4) for name, key in METRICS.items()}
    losses = {
        "loss_first": None if done else _mean(watch.losses[:LOSSES]),
        "loss_last": _mean(watch.losses[-LOSSES:]),
    }
    return runner.model.cpu().eval(), judgement | losses | {"seconds": round(seconds, 1)}


def _mean(losses: Sequence[float]) -> float | None:
    return round(sum(losses) / len(losses), 4) if losses else None


def _config(
    arch: str, weights: Path | None, people: People, part: str, judged: str, recipe: Recipe, seed: int, folder: Path
) -> Any:
    config = retinanet_config("retinanet_small", arch, weights=weights)
    for loader, which in ((config.train_dataloader, part), (config.val_dataloader, judged)):
        path = (folder / f"{which}.json").resolve()
        write_json(path, people.coco(which))
        loader.dataset.update(data_root=f"{people.folder}/", ann_file=str(path))
        loader.dataset.pipeline = [
            step | ({"scale": (recipe.size, recipe.size)} if step["type"] == "Resize" else {})
            for step in loader.dataset.pipeline
            if part != "overfit" or step["type"] != "RandomFlip"
        ]
    config.val_evaluator.ann_file = config.val_dataloader.dataset.ann_file
    config.test_dataloader, config.test_evaluator = config.val_dataloader, config.val_evaluator
    config.train_dataloader.batch_size = recipe.batch_size
    config.optim_wrapper.optimizer.lr = recipe.lr
    iterations = recipe.overfit_iterations if part == "overfit" else recipe.iterations
    warm_up = min(config.param_scheduler[0].end, iterations // 5)
    config.param_scheduler[0].end = warm_up
    config.param_scheduler[1].update(begin=warm_up, end=iterations, T_max=iterations - warm_up)
    config.train_cfg.update(max_iters=iterations, val_interval=iterations)
    config.default_hooks.checkpoint.interval = CHECKPOINT_EVERY
    del config.default_hooks["visualization"]
    config.visualizer.vis_backends = []  # MMEngine keeps one for the whole process, with the first training's folder
    config.update(work_dir=str(folder), resume=True, randomness={"seed": seed}, log_level="ERROR")
    return config


def _iterations_done(folder: Path) -> int:
    """Of an interrupted call, as MMEngine goes on from there."""
    last = folder / "last_checkpoint"
    return int(Path(last.read_text()).stem.removeprefix("iter_")) if last.is_file() else 0


def clear(folder: Path) -> None:
    """Remove what only `train_and_judge` needs, once its answer is kept."""
    for path in folder.iterdir():
        if path.is_dir():
            shutil.rmtree(path)
        elif path.suffix in (".pth", ".json", ".py") or path.name == "last_checkpoint":
            path.unlink()
