"""How long it takes to score all architectures of a NAS-Bench-Macro table, beside scoring them one by one.

`python -m fairnas.experiments.scoring TABLE --data FOLDER` writes results/scoring_macro.json.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated

import numpy as np
import torch
import typer
from safetensors import SafetensorError
from torch import Tensor

from ..common.files import sha256_file, write_json
from ..models import AnySupernet, Architecture, Space, build_supernet
from ..pipeline.check_settings import load_config
from ..pipeline.config import Config
from ..pipeline.console import console, progress_bar
from ..pipeline.data import Dataset, eval_batches, load_dataset
from ..pipeline.errors import UserError
from ..pipeline.ranking.truth import read_truth
from ..pipeline.runs.provenance import commit, machine
from ..pipeline.runs.run import versions
from ..pipeline.search.scoring import ThreadedScorer
from ..pipeline.supernet.path_tree import route_of
from ..pipeline.supernet.scoring import PathScorer, mixed_order
from ..pipeline.supernet.train import load_supernet
from ..pipeline.training.shared import to_device, training_device
from .results import RESULTS


def main(
    table: Annotated[Path, typer.Argument(help="CSV file with a column `arch`, a digit for each of the 8 layers")],
    data: Annotated[str, typer.Option(help="class folders, or a named source")] = "cifar10",
    weights: Annotated[Path | None, typer.Option(help="a trained supernet's weights.safetensors; else random")] = None,
    width: Annotated[float, typer.Option(help="multiplier of every channel count")] = 1.0,
    images: Annotated[int, typer.Option(help="held-out images to score on", min=1)] = 1000,
    batch_size: Annotated[int, typer.Option(min=2)] = 125,
    sample: Annotated[int, typer.Option(help="architectures to score one by one as well", min=2)] = 60,
    seed: Annotated[int, typer.Option(help="of the sample and of random weights")] = 0,
) -> None:
    """Time both ways in one run, with inherited batch-norm statistics, and compare every prediction of the sample."""
    settings = {"data.source": data, "proxy.width": width, "scoring.bn": "none", "scoring.batch_size": batch_size}
    config = load_config("ranking-macro", [f"{key}={value}" for key, value in settings.items()], seed=seed)
    space = config.proxy_space
    architectures = list(read_truth(table, None, space).accuracies)
    dataset = _some_heldout(load_dataset(data, heldout=config.data.heldout, seed=seed), images)
    torch.manual_seed(seed)
    supernet = _supernet(weights, space, width, len(dataset.classes))
    chosen = [architectures[i] for i in np.random.default_rng(seed).permutation(len(architectures))[:sample].tolist()]

    tree = _Timed("as a tree", lambda: PathScorer(supernet, dataset, config).predictions)
    forward = _forward(supernet, dataset, config)
    plain = _Timed("one by one", lambda: forward)
    # Half of the sample before and half after, so that other work on the machine meets both ways alike.
    half = len(chosen) // 2
    seconds_alone = plain.run(chosen[:half])
    seconds = tree.run(architectures)
    seconds_alone += plain.run(chosen[half:])

    agreement = float(np.mean([(plain.found[a] == tree.found[a]).double().mean() for a in chosen]))
    estimate = seconds_alone / len(chosen) * len(architectures)
    routes = [route_of(supernet, architecture.choices) for architecture in architectures]
    write_json(
        RESULTS / "scoring_macro.json",
        {
            "seconds": round(seconds, 1),
            "seconds_one_by_one_estimated": round(estimate, 1),
            "speedup": round(estimate / seconds, 2),
            "one_by_one_architectures": len(chosen),
            "top1_agreement": agreement,
            "predictions_compared": len(chosen) * images,
            "architectures": len(architectures),
            "images": images,
            "parts_run": len({route[:depth] for route in routes for depth in range(1, len(route) + 1)}),
            "parts_run_one_by_one": sum(map(len, routes)),
            "protocol": {
                "table": table.name,
                "dataset": dataset.name,
                "resolution": config.proxy.resolution,
                "width": width,
                "batch_size": batch_size,
                "bn": config.scoring.bn,
                "precision": "float32",
                "weights": f"sha256:{sha256_file(weights)}" if weights else "random",
                "parallel": "both ways: the architectures are shared between threads, each of which computes alone",
            },
            "seed": seed,
            "threads": torch.get_num_threads(),
            "machine": {key: value for key, value in machine().items() if key != "system"},
            "versions": versions(),
            "commit": commit(),
        },
    )
    console.print(
        f"{len(architectures):,} architectures on {images:,} images in {seconds:,.0f} s; one by one it would be "
        f"{estimate:,.0f} s, from {len(chosen)} of them; top-1 agreement {agreement:.2%}"
    )


Predict = Callable[[Sequence[Architecture]], Iterator[tuple[int, Tensor]]]


@dataclass
class _Timed:
    """One way to predict, on as many threads as a search would score with.

    Attributes:
        name: for the progress bar.
        make: what one thread predicts with.
        found: the classes that each architecture predicted, int64 `[images]`.
    """

    name: str
    make: Callable[[], Predict]

    def __post_init__(self) -> None:
        self.found: dict[Architecture, Tensor] = {}

    def run(self, architectures: Sequence[Architecture]) -> float:
        """Predict, and return how many seconds it took."""
        started = time.perf_counter()
        threads = ThreadedScorer(lambda: _Recorder(self.make(), self.found), None)
        with progress_bar(self.name, len(architectures)) as bar:
            threads.score_all(architectures, lambda _: bar.advance())
        return time.perf_counter() - started


@dataclass
class _Recorder:
    """In the place of a scorer: keeps what is predicted instead of how much of it is right."""

    predict: Predict
    found: dict[Architecture, Tensor]

    def score_all(self, architectures: Sequence[Architecture], advance: Callable[[float], None]) -> list[float]:
        for position, classes in self.predict(architectures):
            self.found[architectures[position]] = classes
            advance(0.0)
        return [0.0] * len(architectures)


def _forward(supernet: AnySupernet, dataset: Dataset, config: Config) -> Predict:
    """The plain way: the supernet's own `forward`, path by path, on images that are in memory already."""
    device = training_device()
    to_device(supernet, device)
    supernet.eval()
    size = {"batch_size": config.scoring.batch_size, "resolution": config.proxy.resolution}
    # In the scorer's order, so that batches hold the same images; `back` undoes it.
    order = mixed_order(len(dataset.heldout))
    back = order.argsort()
    batches = [batch.to(device) for batch, _ in eval_batches(dataset.heldout.subset(order), **size)]

    @torch.inference_mode()
    def predict(architectures: Sequence[Architecture]) -> Iterator[tuple[int, Tensor]]:
        for position, architecture in enumerate(architectures):
            classes = [supernet(batch, architecture.choices).argmax(1) for batch in batches]
            yield position, torch.cat(classes).cpu()[back]

    return predict


def _supernet(weights: Path | None, space: Space, width: float, num_classes: int) -> AnySupernet:
    if weights is None:
        return build_supernet(space, num_classes)
    try:
        return load_supernet(weights.read_bytes(), space, num_classes)
    except (OSError, SafetensorError, RuntimeError):  # the last is torch's, of tensors that do not fit
        raise UserError(
            f"{weights} holds no weights of a supernet of space {space.name} at width {width:g} with "
            f"{num_classes} classes: does --width say what it was trained at?"
        ) from None


def _some_heldout(dataset: Dataset, images: int) -> Dataset:
    """The data set with fewer held-out images, spread over the classes."""
    if len(dataset.heldout) < images:
        raise UserError(
            f"{dataset.name} has {len(dataset.heldout)} held-out images, and {images} are to be scored on: "
            "lower --images, or give a larger set with --data"
        )
    return replace(dataset, heldout=dataset.heldout.subset(mixed_order(len(dataset.heldout))[:images]))


if __name__ == "__main__":
    try:
        typer.run(main)
    except UserError as error:
        sys.exit(f"error: {error}")
