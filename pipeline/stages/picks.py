"""Stage `picks`: what the search picked, measured where the device is there."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from ...common.reading import read_object
from ...latency_tables import LatencyTable
from ...models import Architecture
from ..errors import UserError
from ..latency import picks as check_picks
from ..runs.picks_file import read_picks
from ..runs.run import Stage, Workspace
from ..search.limits import Limit, read_limit
from .context import Context

DECIDED_BY = (check_picks,)


def run(context: Context) -> None:
    """Measure the search's picks where the target's device is there."""
    rounds = context.rounds
    read_picks(context.run.folder / "search" / "picks.json", context.config.space, ())  # refuses what are no picks
    limits = limits_found(context)
    # A limit on the upper end of the interval is one on what is measured, too.
    limit, int8_limit = tightest(limits, "latency_ms", "latency_upper_ms"), tightest(limits, "latency_int8_ms")
    in_int8 = "latency_int8_ms" in context.config.search.quantities

    def work(workspace: Workspace) -> None:
        check_picks.check_picks(
            context.run.folder / "search",
            limit,
            LatencyTable.load(context.run.folder / "latency" / "table.json"),
            context.blocks,
            context.device,
            rounds,
            workspace,
            check_picks.Checked(context.predictor("latency/int8").table, int8_limit) if in_int8 else None,
        )

    context.run.execute(
        Stage(
            "picks",
            check_picks.VERSION,
            {"deploy": context.config.deploy.model_dump(), "rounds": rounds.most},
            {
                "device": context.device_digest(),
                "picks": context.run.digest("search", "picks.json"),
                "front": context.run.digest("search", "pareto.csv"),
                "latency": context.run.digest("latency", "table.json"),
                **({"latency_int8": context.run.digest("latency/int8", "table.json")} if in_int8 else {}),
            },
            check_picks.OUTPUTS,
            work,
        )
    )


def tightest(limits: Sequence[Limit], *quantities: str) -> Limit | None:
    """The smallest limit of any of the quantities; None where none is limited."""
    named = [limit for limit in limits if limit.quantity in quantities]
    return min(named, key=lambda limit: (limit.value, limit.quantity), default=None)


def limits_found(context: Context) -> list[Limit]:
    """The limits that the search kept, in numbers.

    Raises:
        UserError: its `history.json` does not say.
    """
    path = context.run.folder / "search" / "history.json"
    try:
        found = [read_limit(text) for text in read_object(path)["constraints"]]
    except (KeyError, TypeError, ValueError):
        found = [None]
    known = [limit for limit in found if limit is not None]
    if len(known) < len(found):
        raise UserError(f"{path} is damaged: search again with --force search")
    medians = {
        constraint.quantity for constraint in context.config.search.parsed_constraints if constraint.limit is None
    }
    return [replace(limit, is_relative=limit.quantity in medians) for limit in known]


def picks_of(context: Context) -> dict[str, Architecture]:
    """The final picks by name."""
    rows = read_picks(context.run.folder / "picks" / "picks.json", context.config.space)
    return {row["name"]: Architecture.parse(row["architecture"]) for row in rows}
