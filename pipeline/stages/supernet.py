"""Stage `supernet`, and those that look at what it trained."""

from __future__ import annotations

from ..data import load_dataset
from ..runs.run import Stage
from ..supernet import train as train_supernet
from . import oneshot as oneshot_stage
from . import similarity as similarity_stage
from .context import Context

DECIDED_BY = (train_supernet, load_dataset)


def run(context: Context) -> None:
    """Train the supernet, score random paths of it, and compare its choice blocks."""
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
    oneshot_stage.run(context)
    similarity_stage.run(context)
