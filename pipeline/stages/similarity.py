"""Stage `similarity`: how alike the choice blocks of each layer have become."""

from __future__ import annotations

from ..data import load_dataset
from ..runs.run import Stage, Workspace
from ..supernet import similarity
from .context import Context

DECIDED_BY = (similarity, load_dataset)


def run(context: Context) -> None:
    """Compare the choice blocks of the supernet."""
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
