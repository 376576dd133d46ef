"""Searches end to end: what limits promise, from the first architecture to the picks."""

from __future__ import annotations

import csv
import json
import tempfile
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from fairnas.pipeline.check_settings import load_config
from fairnas.pipeline.errors import UserError
from fairnas.pipeline.runs.run import Workspace
from fairnas.pipeline.search.algorithms import ALGORITHMS
from fairnas.pipeline.search.choice_program import solve
from fairnas.pipeline.search.constraints import limits_of
from fairnas.pipeline.search.costs import SpaceCosts, Spread
from fairnas.pipeline.search.problem import Problem
from fairnas.pipeline.search.search import check_constraints, search
from fairnas.pipeline.search.settings import SearchConfig
from hypothesis import given, settings
from hypothesis import strategies as st

from .. import tiny
from ..processes import Processes, fairnas
from .problems import SPACE, Curve, problem, results, run

COSTS = ("latency_ms", "latency_upper_ms", "madds", "params")
LAYERS, CHOICES = len(SPACE.layers), len(SPACE.choices)


def rows(folder: Path) -> list[dict[str, Any]]:
    with (folder / "pareto.csv").open(newline="") as file:
        return [{k: v if k == "architecture" else float(v) for k, v in row.items()} for row in csv.DictReader(file)]


def random_costs(rng: np.random.Generator) -> SpaceCosts:
    """Tables of any numbers, and errors in any groups."""
    shape = (LAYERS, CHOICES)
    tables = {name: rng.uniform(0.1, 10 ** rng.uniform(0, 3), size=shape) for name in COSTS}
    tables["latency_upper_ms"] = tables["latency_ms"]
    fixed = {name: float(rng.uniform(0, 10)) for name in COSTS}
    fixed["latency_upper_ms"] = fixed["latency_ms"]
    tables["params"], fixed["params"] = np.ceil(tables["params"]), 1.0
    groups = int(rng.integers(1, 8))
    spread = Spread.by_group(
        tables["latency_ms"] * 0.3, rng.integers(groups, size=shape), rng.uniform(0, 1, size=groups)
    )
    return SpaceCosts(tables, fixed, np.zeros(shape, dtype=bool), False, {"latency_upper_ms": spread})


@given(
    st.integers(0, 10_000),
    st.dictionaries(st.sampled_from(COSTS), st.floats(0, 0.8), min_size=1, max_size=3),
    st.one_of(st.none(), st.floats(0.05, 0.9)),
    st.sampled_from(list(ALGORITHMS)),
)
@settings(max_examples=15, deadline=None)
def test_no_pick_ever_breaks_a_limit(
    seed: int, tightness: dict[str, float], floor: float | None, algorithm: str
) -> None:
    """Limits between what the cheapest network has (0) and the dearest, whether or not one network meets them all."""
    known = random_costs(np.random.default_rng(seed))
    limits: dict[str, float] = {}
    for quantity, share in tightness.items():
        smallest = known.of(solve(known, {}, minimise=quantity) or [])[quantity]
        largest = known.fixed[quantity] + known.per_choice[quantity].max() * LAYERS
        limits[quantity] = smallest * 1.001 + share * largest
    constraints = [f"{quantity}<={limit:.15g}" for quantity, limit in limits.items()]
    config = SearchConfig.model_validate(
        {
            "algorithm": algorithm,
            "population": 16,
            "generations": 3,
            "constraints": constraints + ([f"accuracy>={floor:.15g}"] if floor else []),
        }
    )
    if solve(known, limits) is None:  # though each on its own can be met
        with pytest.raises(UserError, match="together: raise one of them"):
            check_constraints(config, SPACE, known)
        return
    table = check_constraints(config, SPACE, known)
    exact = limits_of(config.parsed_constraints, table)
    searched = Problem(config, seed, SPACE, known, exact, Curve())
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        with suppress(UserError):  # nothing feasible was found
            search(searched, table, Workspace(folder))
        found = rows(folder)
        for row in found:
            assert row["feasible"] == keeps(row, exact)
        if not any(row["feasible"] for row in found):
            assert not (folder / "picks.json").exists()
            return
        picks = json.loads((folder / "picks.json").read_text())
        assert len(picks) == min(3, sum(row["feasible"] for row in found))
        assert all(keeps(pick, exact) for pick in picks)


def keeps(row: dict[str, Any], limits: dict[str, float]) -> bool:
    """Whether a network keeps limits: of costs upper ones, of accuracy a lower one."""
    return all(row[q] >= limit if q == "accuracy" else row[q] <= limit for q, limit in limits.items())


@pytest.mark.parametrize("algorithm", ["nsga2-reinforced", "nsga2"])
@pytest.mark.parametrize("quantity", ["latency_ms", "latency_upper_ms", "params"])
def test_a_search_that_starts_infeasible_reaches_feasibility(algorithm: str, quantity: str, tmp_path: Path) -> None:
    """A limit a fifth of the way from the smallest network to the largest: random networks lie in the middle."""
    known = problem().costs
    smallest = known.of(solve(known, {}, minimise=quantity) or [])[quantity]
    limit = smallest + 0.2 * (known.of([CHOICES - 1] * LAYERS)[quantity] - smallest)
    searched = problem(algorithm=algorithm, population=32, generations=16, constraints=[f"{quantity}<={limit:.15g}"])
    found = rows(run(searched, tmp_path))
    assert not any(row["feasible"] for row in found if row["generation"] == 0)
    assert sum(row["feasible"] for row in found if row["generation"] == 15) >= 16


def test_contradictory_limits_are_refused_with_the_table(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(UserError, match=r"no network of space b meets latency_upper_ms<=0\.1: the smallest has 2\.\d"):
        problem(constraints=["latency_upper_ms<=0.1", "params<=median"])
    # What is fast has many parameters.
    fast, small = np.tile([1.0, 2, 3, 4, 5, 6], (LAYERS, 1)), np.tile([6.0, 5, 4, 3, 2, 1], (LAYERS, 1))
    tables, fixed = {"latency_ms": fast, "params": small}, {"latency_ms": 0.0, "params": 0.0}
    known = SpaceCosts(tables, fixed, np.zeros_like(fast, dtype=bool), False)
    config = load_config("tiny", ["search.constraints=[latency_ms<=60, params<=70]"]).search
    with pytest.raises(
        UserError, match="no network of space b meets latency_ms<=60 and params<=70 together: raise one"
    ):
        check_constraints(config, SPACE, known)
    assert capsys.readouterr().err.count("can space b meet the constraints?") == 2
    check_constraints(load_config("tiny", ["search.constraints=[latency_ms<=60, params<=73]"]).search, SPACE, known)


def test_everything_by_name_is_an_objective_too(tmp_path: Path) -> None:
    objectives = {"accuracy": "maximize", "latency_upper_ms": "minimize", "params": "maximize", "madds": "minimize"}
    searched = problem(objectives=objectives, constraints=["latency_upper_ms<=median", "accuracy>=0.2"])
    folder = run(searched, tmp_path)
    history = json.loads((folder / "history.json").read_text())
    assert history["objectives"] == objectives
    assert [text.partition("=")[0][:-1] for text in history["constraints"]] == ["latency_upper_ms", "accuracy"]
    assert history["constraints"][1] == "accuracy>=0.2"
    assert [row["quantity"] for row in history["satisfiability"]] == ["latency_upper_ms"]
    front = [row for row in rows(folder) if row["on_front"]]
    best = [max(front, key=lambda row: row[q] * (1 if d == "maximize" else -1)) for q, d in objectives.items()]
    for (quantity, direction), row in zip(objectives.items(), best, strict=True):
        feasible = [other[quantity] for other in rows(folder) if other["feasible"]]
        assert row[quantity] == (max if direction == "maximize" else min)(feasible)
    hypervolumes = history["hypervolume"]
    assert hypervolumes == sorted(hypervolumes)


@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_the_same_seed_gives_the_same_front(algorithm: str, tmp_path: Path) -> None:
    first, second = (results(run(problem(algorithm=algorithm), tmp_path / name)) for name in ("first", "second"))
    assert first == second


def test_the_address_of_a_shared_study_decides_nothing_and_is_kept_nowhere() -> None:
    secret = "postgresql://me:hunter2@host/db"
    config = load_config("tiny", [f"search.storage={secret}"])
    assert config.search.storage
    assert config.search.storage.get_secret_value() == secret
    assert "hunter2" not in config.to_yaml()
    assert "hunter2" not in config.model_dump_json()
    assert "hunter2" not in repr(config)
    assert config.model_dump() == load_config("tiny").model_dump()


@pytest.mark.slow
@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ([], "no int8 table: add --set latency.int8_table=PATH"),
        (["latency.int8_table=pixel1"], "latency.int8_table must be of int8 ones"),
        (["latency.int8_table=nowhere.json"], "nowhere.json"),
    ],
)
def test_int8_latency_needs_its_table(
    settings: list[str], message: str, unbroken: Path, processes: Processes, tmp_path: Path
) -> None:
    tiny.rewind(unbroken, tmp_path / "run", "search")
    given = [text for key in ["search.constraints=[latency_int8_ms<=5]", *settings] for text in ("--set", key)]
    command = ["search", *tiny.arguments(tmp_path / "run")[1:], *given]
    process = processes.start(fairnas, *command, log=tmp_path / "log")
    assert process.wait() == 2
    assert message in " ".join(process.output.split())
    assert "Traceback" not in process.output
    assert not (tmp_path / "run" / "search").exists()
