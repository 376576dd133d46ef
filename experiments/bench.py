"""`make bench`: how fast the hot parts are on this machine, each beside the plain way of doing it, in one run."""

from __future__ import annotations

import time
from collections.abc import Callable

import numpy as np
import torch
from rich.table import Table
from torch.nn import functional

from ..latency_tables import Predictor, load_table
from ..models import Supernet, get_space
from ..pipeline.console import console
from ..pipeline.runs.provenance import machine
from ..pipeline.search.algorithms.nsga2 import NSGA2
from ..pipeline.search.costs import space_costs
from ..pipeline.supernet.sampling.strict import StrictFairSampling
from ..pipeline.supernet.step import accumulate_gradients

RESOLUTION, WIDTH, BATCH, CLASSES = 48, 0.5, 128, 10
Row = tuple[str, str, float, float]


def main() -> None:
    """Print a table: what, unit, ours, the plain way, and their ratio."""
    torch.manual_seed(0)
    shown = Table(title=f"{machine()['processor']}, {torch.get_num_threads()} threads", title_justify="left")
    for column in ("", "unit", "ours", "plain", "ours / plain"):
        shown.add_column(column, justify="right" if column not in ("", "unit") else "left")
    for name, unit, ours, plain in (fair_step(), costs(), search_overhead()):
        shown.add_row(name, unit, f"{ours:,.3f}", f"{plain:,.3f}", f"{ours / plain:.3f}")
    console.print(shown)


def fair_step() -> Row:
    """A fair step in channels_last beside the default layout; interleaved, the minimum counts."""
    space = get_space("b").scaled(WIDTH)
    paths = StrictFairSampling(space.genes, 0).sample()
    labels = torch.randint(CLASSES, (BATCH,))

    def step(layout: torch.memory_format) -> Callable[[], object]:
        supernet = Supernet(space, CLASSES).to(memory_format=layout)  # pyright: ignore[reportCallIssue]
        images = torch.randn(BATCH, 3, RESOLUTION, RESOLUTION).contiguous(memory_format=layout)
        return lambda: accumulate_gradients(supernet, [(images, labels)], paths, functional.cross_entropy)

    ours, plain = _interleaved(step(torch.channels_last), step(torch.contiguous_format), rounds=5)
    return f"fair step, 6 paths, batch {BATCH}, {RESOLUTION} px, channels_last / default layout", "s", ours, plain


def costs() -> Row:
    """Costs of 1,000 architectures from per-layer tables beside summing over their blocks."""
    space, predictor = get_space("b"), Predictor(load_table("pixel1"))
    table = space_costs(space, predictor, 224, 1000)
    rng = np.random.default_rng(0)
    genomes = [space.sample(rng) for _ in range(1000)]
    ours, plain = _interleaved(
        lambda: [table.of(genome.choices) for genome in genomes],
        lambda: [(space.cost(genome), predictor.predict(space.blocks(genome, 224))) for genome in genomes],
        rounds=3,
    )
    return "latency, multiply-adds and parameters of an architecture, tables / blocks", "ms", ours, plain


def search_overhead() -> Row:
    """NSGA-II's own time per architecture beside drawing at random, 20 generations of 64."""
    generations, population = 20, 64

    def evolve() -> None:
        algorithm = NSGA2((6,) * 19, population, seed=0)
        rng = np.random.default_rng(0)
        for _ in range(generations):
            genomes = algorithm.ask()
            algorithm.tell(genomes, rng.random((len(genomes), 3)), np.zeros(len(genomes)))

    def draw() -> None:
        rng = np.random.default_rng(0)
        for _ in range(generations * population):
            tuple(rng.integers(6, size=19).tolist())

    ours, plain = _interleaved(evolve, draw, rounds=3)
    share = 1e3 / (generations * population)
    return "search overhead per architecture, NSGA-II / random", "ms", ours * share, plain * share


def _interleaved(ours: Callable[[], object], plain: Callable[[], object], rounds: int) -> tuple[float, float]:
    """Seconds of both: minimum over interleaved rounds, after one untimed run of each."""
    best = [float("inf")] * 2
    for timed in range(-1, rounds):
        for index, work in enumerate((ours, plain)):
            started = time.perf_counter()
            work()
            if timed >= 0:
                best[index] = min(best[index], time.perf_counter() - started)
    return best[0], best[1]


if __name__ == "__main__":
    main()
