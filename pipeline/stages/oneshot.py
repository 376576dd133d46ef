"""Stage `oneshot`: how good random paths of the supernet are."""

from __future__ import annotations

from ..data import load_dataset
from ..runs.run import Stage
from ..supernet import scoring as evaluate
from .context import Context

DECIDED_BY = (evaluate, load_dataset)


def run(context: Context) -> None:
    """Score random paths of the supernet."""
    config = context.config
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
