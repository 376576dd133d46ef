"""One-shot scores: the accuracy of paths with the supernet's weights, on held-out training images."""

from __future__ import annotations

import copy
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence

import numpy as np
import torch
from torch import Tensor, nn

from ...common.files import write_json
from ...models import AnySupernet, Architecture
from ..config import Config
from ..console import console, progress_bar
from ..data import Dataset, ImageSet, eval_batches
from ..errors import UserError
from ..runs.run import Workspace
from ..training.chance import chance_warning
from ..training.shared import to_device, training_device
from .path_tree import Route, depth_first, last_part, route_of
from .waves import Wave, Waves

VERSION = 2
OUTPUTS = ("scores.json",)

# Paths scored together when images come in several waves: the statistics of all their parts are kept meanwhile.
_GROUP = 64


class PathScorer:
    """Scores paths on a copy of a supernet, which itself is never changed.

    Batch-norm statistics of a supernet mix all paths. `scoring.bn` says what a scored path gets instead:
    `none` keeps the inherited ones; `recalibrate` resets and recomputes them on training images (never held-out ones);
    `batch` takes those of each scored batch.

    What paths of a layered supernet begin with is computed once. That holds for recalibrated statistics too: those of
    a block depend on nothing but the images and the choices up to it. Every batch goes through the same operations as
    if its path were alone, so a score is the same, to the bit, whatever is scored beside it.

    Args:
        supernet: maps images `[B, 3, H, W]` and a path to logits `[B, classes]`.
        dataset: its held-out images are scored on, its training images calibrate.
        config: the sections `scoring` and `proxy`.

    Raises:
        UserError: a scored batch would hold a lone image, which has no batch statistics.
    """

    def __init__(self, supernet: AnySupernet, dataset: Dataset, config: Config) -> None:
        settings = config.scoring
        self._mode, self._batch_size, self._resolution = settings.bn, settings.batch_size, config.proxy.resolution
        if self._mode == "batch" and len(dataset.heldout) % self._batch_size == 1:
            raise UserError(
                f"scoring.batch_size={self._batch_size} leaves one of {len(dataset.heldout)} held-out images alone in "
                "a batch, without batch statistics: choose another size"
            )
        self._device = training_device()
        self._supernet = copy.deepcopy(supernet)
        to_device(self._supernet, self._device)
        for norm in _norms(self._supernet):
            norm.momentum = None  # statistics are averages over batches, each with the same weight
        self._labels = dataset.heldout.labels
        mixed = mixed_order(len(dataset.heldout))
        self._back = mixed.argsort()
        calibrating = settings.calibration_images if self._mode == "recalibrate" else 0
        self._waves = Waves(
            calibration_images(dataset.train, calibrating, self._batch_size),
            dataset.heldout.subset(mixed),
            fitting=int(settings.memory_gib * 2**30 / self._held_bytes(dataset.heldout)),
            batch_size=self._batch_size,
            load=self._batches,
        )
        self._kept: dict[Route, list[Tensor]] = {}

    def score(self, architecture: Architecture) -> float:
        """Top-1 accuracy on the held-out images, between 0 and 1."""
        return self.score_all([architecture])[0]

    def score_all(
        self, architectures: Sequence[Architecture], advance: Callable[[float], None] = lambda _: None
    ) -> list[float]:
        """Top-1 accuracy of each architecture on the held-out images, between 0 and 1.

        Args:
            architectures: in any order; equal ones are computed once.
            advance: called with each score when it is known, in the order of the tree.

        Returns:
            The scores in the order of `architectures`.
        """
        scores = [0.0] * len(architectures)
        for position, classes in self.predictions(architectures):
            scores[position] = int((classes == self._labels).sum()) / len(self._labels)
            advance(scores[position])
        return scores

    @torch.inference_mode()
    def predictions(self, architectures: Sequence[Architecture]) -> Iterator[tuple[int, Tensor]]:
        """What each architecture takes the held-out images for.

        Yields:
            The architecture's index and the predicted classes, int64 `[images]`, in the order of the tree.
        """
        positions: dict[Route, list[int]] = defaultdict(list)
        for position, architecture in enumerate(architectures):
            positions[route_of(self._supernet, architecture.choices)].append(position)
        routes = sorted(positions)
        size = _GROUP if len(self._waves) > 1 else max(1, len(routes))
        for first in range(0, len(routes), size):
            for route, classes in self._predict(routes[first : first + size]):
                yield from ((position, classes) for position in positions[route])

    def _predict(self, routes: list[Route]) -> Iterator[tuple[Route, Tensor]]:
        self._kept.clear()
        predicted: dict[Route, list[Tensor]] = defaultdict(list)
        for number, images in enumerate(self._waves, start=1):
            for route, logits in depth_first(routes, images, self._pass):
                predicted[route] += [batch.argmax(1) for batch in logits.scored]
                if number == len(self._waves):
                    yield route, torch.cat(predicted.pop(route)).cpu()[self._back]

    def _pass(self, wave: Wave, prefix: Route) -> Wave:
        """Take a wave through the part at the end of a beginning of a path."""
        part, run = last_part(self._supernet, prefix)
        if self._mode == "recalibrate":
            self._recall_statistics(part, prefix)
        part.train()
        calibration = [run(batch) for batch in wave.calibration]
        if calibration and len(self._waves) > 1:
            self._kept[prefix] = [buffer.clone() for buffer in part.buffers()]
        part.train(self._mode == "batch")
        return Wave(calibration, [run(batch) for batch in wave.scored])

    def _recall_statistics(self, part: nn.Module, prefix: Route) -> None:
        """Those that earlier waves left after this beginning of a path, or none yet."""
        if prefix in self._kept:
            for buffer, kept in zip(part.buffers(), self._kept[prefix], strict=True):
                buffer.copy_(kept)
        else:
            for norm in _norms(part):
                norm.reset_running_stats()

    @torch.inference_mode()
    def _held_bytes(self, images: ImageSet) -> int:
        """How much memory an image takes on its way down a path: the results of all parts, as the walk holds them."""
        (features,) = self._batches(images.subset([0]))
        held = features.nbytes
        self._supernet.eval()
        route = route_of(self._supernet, self._supernet.space.uniform(0).choices)
        for depth in range(len(route)):
            _, run = last_part(self._supernet, route[: depth + 1])
            features = run(features)
            held += features.nbytes
        return held

    def _batches(self, images: ImageSet) -> list[Tensor]:
        batches = eval_batches(images, batch_size=self._batch_size, resolution=self._resolution)
        return [batch.to(self._device, non_blocking=True) for batch, _ in batches]


def _norms(module: nn.Module) -> list[nn.BatchNorm2d]:
    return [part for part in module.modules() if isinstance(part, nn.BatchNorm2d)]


def calibration_images(images: ImageSet, count: int, batch_size: int) -> ImageSet:
    """`count` images spread over the set, in mixed order."""
    chosen = torch.linspace(0, len(images) - 1, min(count, len(images))).long()
    chosen = chosen[mixed_order(len(chosen))]
    if len(chosen) % batch_size == 1:
        chosen = chosen[:-1]  # alone in its batch, an image has no batch statistics
    return images.subset(chosen)


def mixed_order(count: int) -> Tensor:
    """A fixed random order of `count` images, int64 `[count]`: those of a class often lie side by side.

    A batch of one class has statistics of its own: with a class-ordered CIFAR-10, scores lost most of their rank.
    """
    return torch.randperm(count, generator=torch.Generator().manual_seed(0))


def score_random_paths(supernet: AnySupernet, dataset: Dataset, config: Config, workspace: Workspace) -> None:
    """Stage `oneshot`: accuracy of random paths, which tells whether the supernet learned; writes `scores.json`."""
    scorer = PathScorer(supernet, dataset, config)
    rng = np.random.default_rng(config.seed)
    paths = [supernet.space.sample(rng) for _ in range(config.scoring.random_paths)]
    with progress_bar("one-shot accuracy", len(paths)) as bar:
        scores = scorer.score_all(paths, lambda score: bar.advance(f"top-1 {score:.1%}"))
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
    if warning := chance_warning(max(scores), len(dataset.heldout), len(dataset.classes)):
        console.print(f"[yellow]the supernet's best of {len(scores)} random paths: {warning}[/]", soft_wrap=True)
