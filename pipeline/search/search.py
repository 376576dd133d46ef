"""Stage `search`: architectures of a trained supernet that are accurate and cheap (FairNAS, Algorithm 2)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

import numpy as np
from rich.table import Table

from ...common.files import write_atomic, write_json
from ...models import SearchSpace
from ..console import console, progress_bar
from ..errors import UserError
from ..runs.run import Workspace
from .archive import Archive
from .constraints import Satisfiability, jointly_satisfiable, resolve
from .costs import SpaceCosts
from .hypervolume import REFERENCE, archive_hypervolumes
from .limits import Limit
from .local import search_locally
from .picks import pick_evenly
from .problem import Problem
from .quantities import UNITS
from .settings import SearchConfig
from .shared import search_together

VERSION = 2
OUTPUTS = ("pareto.csv", "picks.json", "history.json")


def check_constraints(settings: SearchConfig, space: SearchSpace, costs: SpaceCosts) -> list[Satisfiability]:
    """Print the satisfiability table.

    Raises:
        UserError: no network of the space meets the constraints.
    """
    table = resolve(settings.parsed_constraints, space, costs)
    shown = Table(title=f"can space {space.name} meet the constraints?", title_justify="left")
    for column in ("", "smallest", "median", "largest", "limit", ""):
        shown.add_column(column, justify="right" if column else "left")
    for row in table:
        name, unit = UNITS[row.quantity]
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


def search(problem: Problem, satisfiability: list[Satisfiability], workspace: Workspace, study: str = "search") -> None:
    """Search, and write `pareto.csv`, `picks.json` and `history.json`.

    Args:
        problem: what to search, and how.
        satisfiability: the constraints with their numbers, as `check_constraints` found them.
        workspace: where to write; a search cut off there is resumed.
        study: where `search.storage` names a database, the name there of this search and no other.

    Raises:
        UserError: no feasible architecture was found, or the study cannot be written.
    """
    settings = problem.settings
    with progress_bar("search", settings.generations * settings.population) as bar:
        if settings.storage is None:
            archive = search_locally(problem, workspace.folder, bar, workspace.owner.key)
        else:
            archive = search_together(problem, settings.storage.get_secret_value(), study, bar, workspace.start_again)
    _write_results(settings, archive, satisfiability, workspace)


def _write_results(
    settings: SearchConfig, archive: Archive, satisfiability: list[Satisfiability], workspace: Workspace
) -> None:
    violations = archive.violations()
    axis = next((quantity for quantity in settings.objectives if quantity != "accuracy"), "latency_ms")
    position = np.array([member.values[axis] for member in archive.members])
    picks = pick_evenly(archive.minimised(), violations, position, settings.picks)
    write_atomic(workspace.folder / "pareto.csv", archive.to_csv())
    history = {
        "objectives": dict(archive.objectives),
        "constraints": [str(Limit(quantity, value)) for quantity, value in archive.limits.items()],
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
    generations = np.array([member.generation for member in feasible])
    order = np.argsort(generations, kind="stable")
    last = max(member.generation for member in archive.members)
    ends = np.searchsorted(generations[order], np.arange(last + 1), side="right").tolist()
    return {
        "reference": [REFERENCE] * points.shape[1],
        "ideal": low.tolist(),
        "nadir": high.tolist(),
        "hypervolume": archive_hypervolumes(points[order], ends, low, high),
    }
