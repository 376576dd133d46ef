"""One-shot scores: the accuracy of a path with the supernet's weights, on held-out training images."""

from __future__ import annotations

import copy
from collections.abc import Sequence

import numpy as np
import torch
from torch import nn

from ..latency_tables.files import write_json
from ..models import Architecture, Supernet
from .config import Config
from .console import progress_bar
from .data import Dataset, eval_batches
from .runs import Workspace
from .training import to_device, top1, training_device

VERSION = 1
OUTPUTS = ("scores.json",)


class PathScorer:
    """Scores paths on a copy of a supernet, which itself is never changed.

    Batch-norm statistics of a supernet mix all paths. `scoring.bn` says what a scored path gets instead:
    `none` keeps the inherited ones; `recalibrate` resets and recomputes them on training images (never held-out ones);
    `batch` takes those of each scored batch.
    """

    def __init__(self, supernet: Supernet, dataset: Dataset, config: Config) -> None:
        self._device = training_device()
        self._supernet = copy.deepcopy(supernet)
        to_device(self._supernet, self._device)
        self._mode = config.scoring.bn
        self._heldout = dataset.heldout
        self._batch_size = config.scoring.batch_size
        self._resolution = config.proxy.resolution
        count = min(config.scoring.calibration_images, len(dataset.train))
        # Spread over the set: images of a class often lie side by side.
        images = dataset.train.subset(torch.linspace(0, len(dataset.train) - 1, count).long())
        self._calibration = [
            batch.to(self._device)
            for batch, _ in eval_batches(images, batch_size=self._batch_size, resolution=self._resolution)
            if len(batch) > 1
        ]

    def score(self, architecture: Architecture) -> float:
        """Top-1 accuracy on the held-out images, between 0 and 1."""
        choices = architecture.choices
        if self._mode == "recalibrate":
            self._recalibrate(choices)
        self._supernet.train(self._mode == "batch")
        return top1(
            lambda images: self._supernet(images, choices),
            self._heldout,
            self._batch_size,
            self._resolution,
            self._device,
        )

    @torch.inference_mode()
    def _recalibrate(self, choices: Sequence[int]) -> None:
        """Exact statistics over the calibration images: batches are averaged with equal weight, from zero."""
        for module in self._supernet.modules():
            if isinstance(module, nn.BatchNorm2d):
                module.reset_running_stats()
                module.momentum = None
        self._supernet.train()
        for images in self._calibration:
            self._supernet(images, choices)


def score_random_paths(supernet: Supernet, dataset: Dataset, config: Config, workspace: Workspace) -> None:
    """Stage `oneshot`: accuracy of random paths, which tells whether the supernet learned; writes `scores.json`."""
    scorer = PathScorer(supernet, dataset, config)
    rng = np.random.default_rng(config.seed)
    scores: list[float] = []
    with progress_bar("one-shot accuracy", config.scoring.random_paths) as bar:
        for _ in range(config.scoring.random_paths):
            scores.append(scorer.score(supernet.space.sample(rng)))
            bar.advance(f"top-1 {scores[-1]:.1%}")
    summary = {
        "heldout_top1_mean": float(np.mean(scores)),
        "heldout_top1_std": float(np.std(scores)),
        "heldout_top1_min": min(scores),
        "heldout_top1_max": max(scores),
        "paths": len(scores),
        "images": len(dataset.heldout),
        "bn": config.scoring.bn,
    }
    write_json(workspace.folder / "scores.json", summary)
