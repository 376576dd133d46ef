"""Stage `rank`."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from ...common.reading import read_object
from ...models import Architecture, Task
from ..data import load_dataset
from ..errors import UserError
from ..ranking import TRUTH_PREFIX, certificate
from ..ranking.sample import choose, random_pool
from ..ranking.truth import Truth, read_truth, truth_of_trained
from ..runs.figures import figures_of
from ..runs.run import Stage
from . import retrain as retrain_stage
from . import supernet as supernet_stage
from .context import Context
from .networks import short_digest

DECIDED_BY = (certificate, choose, load_dataset)


def run(context: Context, table: Path | None = None, column: str | None = None) -> None:
    """Certify the supernet's ranking against a table of true accuracies, or against networks trained stand-alone.

    Raises:
        UserError: the table cannot be read, or there is none and the space's networks cannot be trained.
    """
    config, settings, space = context.config, context.config.rank, context.proxy_space
    truth = read_truth(table, column, space) if table else None
    if truth is None and not space.is_deployable:
        raise UserError(f"networks of space {space.name} are not trained here: add --truth FILE, the benchmark's table")
    candidates = list(truth.accuracies) if truth else random_pool(space, settings.seed)
    chosen = choose(
        candidates,
        (settings.architectures or len(truth.accuracies)) if truth else settings.networks,
        settings,
        space,
        Task(config.proxy.resolution, len(context.dataset.classes)),
        truth.accuracies if truth else None,
    )
    supernet_stage.run(context)
    truth = truth or _train_truth(context, chosen)
    trained = read_object(context.run.folder / "supernet" / "fairness.json")
    facts = {key: trained[key] for key in ("sampling", "steps", "backward_passes") if key in trained}
    context.run.execute(
        Stage(
            "rank",
            certificate.VERSION,
            {
                "proxy": config.proxy.model_dump(),
                "scoring": config.scoring.model_dump(exclude={"random_paths", "memory_gib"}),
                "rank": settings.model_dump(exclude={"similarity_images", "similarity_paths"}),
            },
            {
                "supernet": context.run.digest("supernet", "weights.safetensors"),
                "dataset": context.dataset.digest,
                "truth": truth.digest,
            },
            certificate.OUTPUTS,
            lambda work: certificate.write_certificate(
                context.trained_supernet,
                chosen,
                len(candidates),
                truth,
                facts | {"seed": config.seed},
                context.dataset,
                config,
                work,
            ),
        )
    )


def _train_truth(context: Context, architectures: Sequence[Architecture]) -> Truth:
    """Train networks stand-alone, each a stage; from random weights: the supernet's own would flatter it."""
    scratch = context.config.retrain.model_copy(update={"init": "scratch"})
    networks = {f"{TRUTH_PREFIX}{short_digest(a)}": a for a in architectures}
    retrain_stage.run(context, networks, context.config.model_copy(update={"retrain": scratch}))
    results = [figures_of(context.run.folder / "retrain" / name / "result.json", "val_top1") for name in networks]
    return truth_of_trained(results, scratch.batch_size, len(context.dataset.val))
