"""Stage `picks`: what the search picked, measured where the device is there."""

from __future__ import annotations

import re

from ...common.reading import read_object
from ...latency_tables import LatencyTable
from ...models import Architecture
from ..errors import UserError
from ..latency import picks as check_picks
from ..runs.picks_file import read_picks
from ..runs.run import Stage, Workspace
from .context import Context

DECIDED_BY = (check_picks,)


def run(context: Context) -> None:
    """Measure the search's picks where the target's device is there."""
    rounds = context.rounds
    read_picks(context.run.folder / "search" / "picks.json", context.config.space, ())  # refuses what are no picks
    limits = _limits_found(context)

    def tightest(*quantities: str) -> check_picks.Limit | None:
        named = sorted((limits[name], name) for name in quantities if name in limits)
        if not named:
            return None
        ms, name = named[0]
        return check_picks.Limit(ms, f"{name}<=median" in context.config.search.constraints, name)

    # A limit on the upper end of the interval is one on what is measured, too.
    limit, int8_limit = tightest("latency_ms", "latency_upper_ms"), tightest("latency_int8_ms")
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


def _limits_found(context: Context) -> dict[str, float]:
    """The limits that the search kept, in numbers."""
    path = context.run.folder / "search" / "history.json"
    try:
        texts = read_object(path)["constraints"]
        return {name: float(limit) for name, limit in (re.split("<=|>=", text) for text in texts)}
    except (KeyError, TypeError, ValueError):
        raise UserError(f"{path} is damaged: search again with --force search") from None


def picks_of(context: Context) -> dict[str, Architecture]:
    """The final picks by name."""
    rows = read_picks(context.run.folder / "picks" / "picks.json", context.config.space)
    return {row["name"]: Architecture.parse(row["architecture"]) for row in rows}
