"""Stages `supernet`, `oneshot` and `similarity`."""

from __future__ import annotations

from ..runs.run import Stage, Workspace
from ..supernet import scoring as evaluate
from ..supernet import similarity
from ..supernet import train as train_supernet
from .context import Context


def run(context: Context) -> None:
    """Train the supernet and score random paths of it."""
    config = context.config
    context.run.execute(
        Stage(
            "supernet",
            train_supernet.VERSION,
            {
                "seed": config.seed,
                "space": config.space,
                "proxy": config.proxy.model_dump(),
                "supernet": config.supernet.model_dump(exclude={"checkpoint_seconds"}),
                "heldout": config.data.heldout,
                "train_images": config.data.train_images,
            },
            {"dataset": context.dataset.digest},
            train_supernet.OUTPUTS,
            lambda work: train_supernet.train_supernet(config, context.proxy_space, context.dataset, work),
        )
    )
    context.run.execute(
        Stage(
            "oneshot",
            evaluate.VERSION,
            {
                "seed": config.seed,
                "proxy": config.proxy.model_dump(),
                "scoring": config.scoring.model_dump(exclude={"memory_gib"}),
            },
            {"supernet": context.run.digest("supernet", "weights.safetensors")},
            evaluate.OUTPUTS,
            lambda work: evaluate.score_random_paths(context.trained_supernet, context.dataset, config, work),
        )
    )
    _compare_blocks(context)


def _compare_blocks(context: Context) -> None:
    """Measure how alike the choice blocks of each layer have become."""
    seed, count, paths = (
        context.config.seed,
        context.config.rank.similarity_images,
        context.config.rank.similarity_paths,
    )

    def work(workspace: Workspace) -> None:
        similarity.compare_blocks(
            context.trained_supernet,
            context.dataset.heldout,
            count,
            context.config.proxy.resolution,
            paths,
            seed,
            workspace,
        )

    context.run.execute(
        Stage(
            "similarity",
            similarity.VERSION,
            {"seed": seed, "proxy": context.config.proxy.model_dump(), "images": count, "paths": paths},
            {
                "supernet": context.run.digest("supernet", "weights.safetensors"),
                "dataset": context.dataset.digest,
            },
            similarity.OUTPUTS,
            work,
        )
    )
