"""Stage `search`."""

from __future__ import annotations

from ...latency_tables import require_trust
from ...models import AnySupernet
from .. import distributed
from ..config import Config
from ..data import Dataset, load_dataset
from ..runs.picks_file import is_pick
from ..runs.run import Stage, Workspace
from ..search import search
from ..search.constraints import limits_of
from ..search.costs import space_costs
from ..search.distributed_scoring import RankedScorer
from ..search.problem import Problem
from ..search.scoring import SharedScorer, ThreadedScorer
from ..supernet import scoring as evaluate
from . import latency as latency_stage
from . import picks as picks_stage
from . import supernet as supernet_stage
from .context import Context

DECIDED_BY = (search, evaluate, load_dataset)


def run(context: Context) -> None:
    """Search the supernet, and forget what was made of earlier picks.

    A bad table and limits that cannot be met are refused before the supernet is trained.
    """
    config = context.config
    latency_stage.run(context)
    predictor = context.predictor("latency")
    latency_stage.announce_table(
        require_trust(predictor.table, config.latency.allow_unvalidated, context.target.how_to_measure),
        predictor.table,
    )
    int8 = latency_stage.int8_predictor(context) if "latency_int8_ms" in config.search.quantities else None
    costs = space_costs(context.deploy_space, predictor, *context.task, int8)
    satisfiability = search.check_constraints(config.search, context.deploy_space, costs)
    supernet_stage.run(context)
    inputs = {
        "supernet": context.run.digest("supernet", "weights.safetensors"),
        "latency": context.run.digest("latency", "table.json"),
    }
    if int8 is not None:
        inputs["latency_int8"] = context.run.digest("latency/int8", "table.json")

    def work(workspace: Workspace) -> None:
        limits = limits_of(config.search.parsed_constraints, satisfiability)
        scorer = _shared_scorer(context)
        problem = Problem(config.search, config.seed, context.deploy_space, costs, limits, scorer)
        search.search(problem, satisfiability, workspace, study=f"fairnas-{config.space}-{own.key[:12]}")

    own = Stage(
        "search",
        search.VERSION,
        {
            "seed": config.seed,
            "proxy": config.proxy.model_dump(),
            "deploy": config.deploy.model_dump(),
            "scoring": config.scoring.model_dump(exclude={"random_paths", "memory_gib"}),
            "search": config.search.model_dump(exclude={"workers", "chunk"}),
        },
        inputs,
        search.OUTPUTS,
        work,
    )
    context.run.execute(own)
    picks_stage.run(context)
    picks = {name: str(architecture) for name, architecture in picks_stage.picks_of(context).items()}
    for stage in context.run.stages():
        kind, _, name = stage.partition("/")
        made_of = context.run.manifest["stages"].get(stage, {}).get("config", {}).get("architecture")
        stale = name not in picks or (made_of is not None and made_of != picks[name])
        if kind in ("retrain", "export") and is_pick(name) and stale:
            context.run.discard(stage)


def _shared_scorer(context: Context) -> SharedScorer:
    """Threads that score, on all ranks where torchrun started several."""
    scorer = threaded_scorer(context.trained_supernet, context.dataset, context.config)
    if not distributed.are_several():
        return scorer
    weights = (context.run.folder / "supernet" / "weights.safetensors").read_bytes()
    return RankedScorer(scorer, weights, context.dataset.digest)


def threaded_scorer(supernet: AnySupernet, dataset: Dataset, config: Config) -> ThreadedScorer:
    """Threads that score, each with a copy of the supernet."""
    return ThreadedScorer(lambda: evaluate.PathScorer(supernet, dataset, config), config.search.workers)
