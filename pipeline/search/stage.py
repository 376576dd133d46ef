"""Stage `search`: NSGA-II over a trained supernet (FairNAS, Algorithm 2)."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
from pymoo.indicators.hv import HV
from rich.table import Table

from ...latency_tables.files import write_atomic, write_json
from ...models import Architecture, SearchSpace
from ..config import SearchConfig
from ..console import console, progress_bar
from ..errors import UserError
from ..runs import Workspace
from .archive import Archive, Scored
from .constraints import Constraint, Satisfiability, jointly_satisfiable, resolve
from .costs import SpaceCosts
from .nsga2 import NSGA2, Genome
from .picks import pick_evenly
from .study import StudyMirror

VERSION = 1
OUTPUTS = ("pareto.csv", "picks.json", "history.json")

_STATE_FILE = "state.json"
_UNITS = {"latency_ms": ("latency (ms)", 1.0), "madds": ("multiply-adds (M)", 1e6), "params": ("parameters (M)", 1e6)}


def check_constraints(settings: SearchConfig, space: SearchSpace, costs: SpaceCosts) -> list[Satisfiability]:
    """Print the satisfiability table.

    Raises:
        UserError: no network of the space meets the constraints.
    """
    table = resolve([Constraint.parse(text) for text in settings.constraints], space, costs)
    shown = Table(title=f"can space {space.name} meet the constraints?", title_justify="left")
    for column in ("", "smallest", "median", "largest", "limit", ""):
        shown.add_column(column, justify="right" if column else "left")
    for row in table:
        name, unit = _UNITS[row.quantity]
        numbers = [f"{value / unit:,.2f}" for value in (row.smallest, row.median, row.largest, row.limit)]
        shown.add_row(name, *numbers, "[green]yes[/]" if row.satisfiable else "[red]no[/]")
    if table:
        console.print(shown)
    for row in table:
        if not row.satisfiable:
            raise UserError(
                f"no network of space {space.name} meets {row.quantity}<={row.limit:g}: "
                f"the smallest has {row.smallest:g}; raise the limit, or lower deploy.resolution or deploy.width"
            )
    if not jointly_satisfiable({row.quantity: row.limit for row in table}, costs):
        limits = " and ".join(f"{row.quantity}<={row.limit:g}" for row in table)
        raise UserError(f"no network of space {space.name} meets {limits} together: raise one of them")
    return table


def search(
    settings: SearchConfig,
    seed: int,
    space: SearchSpace,
    costs: SpaceCosts,
    satisfiability: list[Satisfiability],
    score: Callable[[Architecture], float],
    workspace: Workspace,
) -> None:
    """Search, and write `pareto.csv`, `picks.json`, `history.json` and the Optuna study `study.db`.

    Args:
        settings: how to search.
        seed: of the search's generator.
        space: what to search.
        costs: latency, multiply-adds and parameters of its architectures at deploy size.
        satisfiability: the constraints with their numbers, as `check_constraints` found them.
        score: one-shot accuracy of an architecture.
        workspace: where to write; a search cut off there is resumed after its last finished generation.

    Raises:
        UserError: no feasible architecture was found.
    """
    limits = {row.quantity: row.limit for row in satisfiability}
    archive = Archive(dict(settings.objectives), limits)
    algorithm = NSGA2(
        len(space.layers),
        len(space.choices),
        settings.population,
        seed,
        settings.crossover_probability,
        settings.mutation_probability,
    )
    state_file = workspace.folder / _STATE_FILE
    done = _resume(state_file, algorithm, archive)
    study = StudyMirror(workspace.folder / "study.db", archive, resume=done > 0)
    with progress_bar("search", settings.generations * settings.population, len(archive.members)) as bar:
        for generation in range(done, settings.generations):
            genomes = algorithm.ask()
            scored: list[Scored] = []
            for genome in genomes:
                scored.append(_score(genome, generation, space, costs, score))
                bar.advance(f"generation {generation + 1}, top-1 {scored[-1].values['accuracy']:.1%}")
            archive.members += scored
            algorithm.tell(genomes, archive.minimised(scored), archive.violations(scored))
            write_json(
                state_file, {"generation": generation + 1, "algorithm": algorithm.state(), "archive": archive.state()}
            )
            study.update()
    study.update()
    _write_results(settings, archive, satisfiability, workspace)


def _score(
    genome: Genome, generation: int, space: SearchSpace, costs: SpaceCosts, score: Callable[[Architecture], float]
) -> Scored:
    architecture = space.architecture(genome)
    values = {"accuracy": score(architecture), **costs.of(genome)}
    return Scored(genome, str(architecture), generation, values, costs.is_extrapolated(genome))


def _resume(state_file: Path, algorithm: NSGA2, archive: Archive) -> int:
    if not state_file.exists():
        return 0
    try:
        state = json.loads(state_file.read_text())
        algorithm.load_state(state["algorithm"])
        archive.load_state(state["archive"])
        return int(state["generation"])
    except (ValueError, KeyError, TypeError):
        raise UserError(f"{state_file} is damaged: run the same command with --force search to start again") from None


def _write_results(
    settings: SearchConfig, archive: Archive, satisfiability: list[Satisfiability], workspace: Workspace
) -> None:
    violations = archive.violations()
    axis = next(q for q in settings.objectives if q != "accuracy")
    position = np.array([member.values[axis] for member in archive.members])
    picks = pick_evenly(archive.minimised(), violations, position, settings.picks)
    write_atomic(workspace.folder / "pareto.csv", archive.to_csv())
    history = {
        "objectives": dict(archive.objectives),
        "constraints": [f"{quantity}<={limit!r}" for quantity, limit in archive.limits.items()],
        "satisfiability": [asdict(row) | {"satisfiable": row.satisfiable} for row in satisfiability],
        **_hypervolumes(archive),
    }
    write_json(workspace.folder / "history.json", history)
    if not picks:
        raise UserError("the search found no architecture that meets the limits: raise search.generations or a limit")
    if len(picks) < settings.picks:
        console.print(
            f"[yellow]{len(picks)} of {settings.picks} picks: no more networks that meet the limits were found[/]"
        )
    rows = [
        {
            "name": f"pick-{number}",
            "architecture": archive.members[index].architecture,
            "extrapolated": archive.members[index].extrapolated,
            **archive.members[index].values,
        }
        for number, index in enumerate(picks, start=1)
    ]
    write_json(workspace.folder / "picks.json", rows)


def _hypervolumes(archive: Archive) -> Mapping[str, Any]:
    """Hypervolume of all feasible architectures up to each generation.

    Objectives are scaled to 0..1 over everything feasible that was scored; the reference point is 1.1 in each.
    """
    feasible = [m for m, violation in zip(archive.members, archive.violations(), strict=True) if violation <= 0]
    if not feasible:
        return {"reference": [], "ideal": [], "nadir": [], "hypervolume": []}
    points = archive.minimised(feasible)
    low, high = points.min(axis=0), points.max(axis=0)
    scaled = (points - low) / np.where(high > low, high - low, 1)
    indicator = HV(ref_point=np.full(points.shape[1], 1.1))
    generations = np.array([member.generation for member in feasible])
    return {
        "reference": [1.1] * points.shape[1],
        "ideal": low.tolist(),
        "nadir": high.tolist(),
        "hypervolume": [
            float(indicator(scaled[generations <= g]) or 0.0) if (generations <= g).any() else 0.0
            for g in range(max(m.generation for m in archive.members) + 1)
        ],
    }
