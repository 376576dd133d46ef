"""Stages `latency`, `latency/<name>` and `latency/int8`: what blocks cost on the target."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from ... import latency_tables
from ...common.files import sha256_json, write_atomic, write_json
from ...common.text import shown
from ...exporters.onnx.formats import Onnx
from ...latency_tables import (
    LatencyError,
    LatencyTable,
    Places,
    Plan,
    Predictor,
    Verdict,
    judge,
    load_table,
    profile_network,
    profile_space,
    require_trust,
    unsteady,
)
from ...latency_tables.runtimes.names import about_networks, runtime_warning
from ...latency_tables.table_parts import Precision
from ...models import AnyNetwork, Architecture, Block, get_space
from ..console import console, sample_bar
from ..errors import UserError
from ..latency.earlier import earlier_tables, tables_of_runs
from ..runs.run import Stage, Workspace
from .context import Context
from .networks import ours

VERSION = 4
DECIDED_BY = (latency_tables,)
PRECISION = "fp32"  # of exported networks, so latency is that of such models


def run(context: Context, named: Mapping[str, AnyNetwork] | None = None) -> None:
    """Measure the target's blocks, or take its table: those of the space, or of each named network of ours."""
    if named is None:
        blocks = context.deploy_space.all_blocks(*context.task)
        context.run.execute(_stage(context, "latency", blocks))
        return
    for name, architecture in ours(named).items():
        blocks = context.blocks(architecture)
        context.run.execute(_stage(context, f"latency/{name}", blocks, architecture))


def int8_predictor(context: Context) -> Predictor:
    """The latency of quantised networks, from a given table or measured."""
    blocks = context.deploy_space.all_blocks(*context.task)
    context.run.execute(_stage(context, "latency/int8", blocks, precision="int8"))
    predictor = context.predictor("latency/int8")
    announce_table(
        require_trust(predictor.table, context.config.latency.allow_unvalidated, context.target.how_to_measure),
        predictor.table,
    )
    return predictor


def _stage(
    context: Context,
    name: str,
    blocks: Sequence[Block],
    architecture: Architecture | None = None,
    precision: Precision = PRECISION,
) -> Stage:
    """A stage that leaves `table.json` and `validation.json`, and raw samples where it measures.

    Args:
        context: of the run.
        name: the stage's name.
        blocks: what the table must price.
        architecture: the only network that it is for; None for the whole space.
        precision: of the models whose latency it is.

    Raises:
        LatencyError: the target's table cannot price one of the blocks.
    """
    settings = context.config.latency
    if precision == PRECISION:
        source = settings.table or (context.target.table if context.device is None else None)
    else:
        source = settings.int8_table
    if source is not None or context.device is None:
        return _given_table_stage(context, name, source, blocks, precision)
    device = context.device
    plan = Plan(context.rounds, precision, settings.calibration_networks, settings.validation_networks)

    def work(workspace: Workspace) -> None:
        earlier = earlier_tables(*tables_of_runs(context.run.folder.parent))
        places = Places(workspace.folder, sample_bar, earlier)
        if architecture is None:
            table = profile_space(device, context.deploy_space, context.task, plan, places)
            # Before the stage is finished: the same command then measures again.
            if (trouble := unsteady(table)) and not settings.allow_unvalidated:
                raise LatencyError(f"not validated: {trouble}; or accept the table with --allow-unvalidated")
        else:
            origin = get_space(architecture.space).scaled(context.config.deploy.width)
            table = profile_network(device, origin, architecture, context.task, plan, places)
        write_table(table, workspace)

    return Stage(
        name,
        VERSION,
        {
            "target": context.target.name,
            "latency": settings.model_dump(exclude={"allow_unvalidated", "table", "int8_table"}),
            "blocks": _digest(blocks),
        },
        {"device": context.device_digest()},
        ("table.json", "validation.json"),
        work,
        settles=False,
    )


def _given_table_stage(
    context: Context, name: str, source: str | None, blocks: Sequence[Block], precision: Precision
) -> Stage:
    """A stage that takes a table that is there already."""
    key = "table" if precision == PRECISION else f"{precision}_table"
    if source is None:
        raise UserError(
            f"target {context.target.name} has no device and no {precision} table: add --set latency.{key}=PATH"
        )
    table = load_table(source)
    if table.precision != precision:
        raise UserError(
            f"latency table {table.name} is of {table.precision} models, and latency.{key} must be of {precision} "
            f"ones: measure the device with `fairnas profile --precision {precision}`"
        )
    Predictor(table).check_covers(blocks)
    return Stage(
        name,
        VERSION,
        {"target": context.target.name, "blocks": _digest(blocks)},
        {"table": table.digest()},
        ("table.json", "validation.json"),
        lambda work: write_table(table, work),
        settles=False,
    )


def announce_table(verdict: Verdict, table: LatencyTable) -> None:
    """Say how far the table can be trusted, louder where it is less."""
    colour = {"validated": "green", "fitted": "yellow"}.get(verdict.state, "red")
    console.print(f"[{colour}]table    {shown(table.name)}, {verdict.state}: {shown(verdict.figure)}[/]")
    if table.kind == "fitted":
        console.print(f"[{colour}]         not measured here: {shown(table.source.partition(';')[0])}[/]")
    for line in about_networks(table), runtime_warning(table, Onnx.name, Onnx.runtime):
        if line:
            console.print(f"[{colour}]         {shown(line)}[/]", soft_wrap=True)


def _digest(blocks: Sequence[Block]) -> str:
    return sha256_json(sorted({block.signature for block in blocks}))


def write_table(table: LatencyTable, workspace: Workspace) -> None:
    """Leave a table, and what is thought of it."""
    write_atomic(workspace.folder / "table.json", table.to_json())
    verdict = judge(table)
    checked = table.validation.model_dump(exclude_none=True) if table.validation else {}
    summary = {"table": table.name, "kind": table.kind, "source": table.source}
    judged = summary | {"state": verdict.state, "figure": verdict.figure}
    # A table may say more of its validation than we know, but not what we make of it.
    more = {name: value for name, value in checked.items() if name not in judged}
    write_json(workspace.folder / "validation.json", judged | more)
