"""Limits: how they are written, what the space offers, and whether one network can meet all of them."""

from __future__ import annotations

import itertools
import re

import numpy as np
import pytest
from fairnas.latency_tables import Predictor, load_table
from fairnas.models import get_space
from fairnas.pipeline.search.constraints import Constraint, jointly_satisfiable, resolve
from fairnas.pipeline.search.costs import SpaceCosts, space_costs
from hypothesis import given
from hypothesis import strategies as st

SPACE = get_space("b").scaled(0.5)


@pytest.fixture(scope="module")
def costs() -> SpaceCosts:
    return space_costs(SPACE, Predictor(load_table("pixel1")), 64, 10)


@pytest.mark.parametrize(
    ("text", "quantity", "limit"),
    [
        ("latency_ms<=8", "latency_ms", 8.0),
        (" madds <= 400e6 ", "madds", 400e6),
        ("params<=1234567", "params", 1_234_567.0),
        ("latency_ms<=median", "latency_ms", None),
    ],
)
def test_a_constraint_is_read(text: str, quantity: str, limit: float | None) -> None:
    assert Constraint.parse(text) == Constraint(quantity, limit)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("latency<=8", "'latency<=8' is not a constraint: write one of latency_ms<=, madds<=, params<= a number"),
        ("accuracy<=1", "'accuracy<=1' is not a constraint"),
        ("latency_ms>=8", "'latency_ms>=8' is not a constraint"),
        ("latency_ms<8", "'latency_ms<8' is not a constraint"),
        ("latency_ms<=", "'latency_ms<=' is not a constraint"),
        ("latency_ms<=8 ms", "'latency_ms<=8 ms' is not a constraint"),
        ("latency_ms<=fast", "'fast' is neither a number nor 'median'"),
        ("latency_ms<=0", "the limit must be a positive number"),
        ("latency_ms<=-3", "the limit must be a positive number"),
        ("latency_ms<=nan", "the limit must be a positive number"),
        ("latency_ms<=inf", "the limit must be a positive number"),
        ("", "'' is not a constraint"),
    ],
)
def test_anything_else_is_refused(text: str, message: str) -> None:
    with pytest.raises(ValueError, match=re.escape(message)):
        Constraint.parse(text)


@given(st.sampled_from(["latency_ms", "madds", "params"]), st.integers(1, 10**12), st.integers(0, 9))
def test_text_round_trips(quantity: str, digits: int, places: int) -> None:
    constraint = Constraint(quantity, digits / 10**places)
    assert Constraint.parse(str(constraint)) == constraint


def test_smallest_and_largest_are_bounds_that_networks_reach(costs: SpaceCosts) -> None:
    table = resolve([Constraint(quantity, 1.0) for quantity in ("latency_ms", "madds", "params")], SPACE, costs)
    rng = np.random.default_rng(0)
    for row in table:
        cheapest = costs.per_choice[row.quantity].argmin(axis=1)
        dearest = costs.per_choice[row.quantity].argmax(axis=1)
        assert costs.of(cheapest)[row.quantity] == pytest.approx(row.smallest, rel=1e-12)
        assert costs.of(dearest)[row.quantity] == pytest.approx(row.largest, rel=1e-12)
        drawn = [costs.of(SPACE.sample(rng).choices)[row.quantity] for _ in range(300)]
        assert row.smallest <= min(drawn)
        assert max(drawn) <= row.largest
        assert np.mean(np.array(drawn) <= row.median) == pytest.approx(0.5, abs=0.1)
        assert row.limit == 1.0
    madds = {row.quantity: row for row in table}["madds"]
    assert madds.smallest == SPACE.cost(SPACE.uniform("E3K3"), 64, 10).madds
    assert madds.largest == SPACE.cost(SPACE.uniform("E6K7"), 64, 10).madds


def test_median_stands_for_a_number_that_does_not_depend_on_the_run(costs: SpaceCosts) -> None:
    first, second = (resolve([Constraint("latency_ms", None)], SPACE, costs)[0] for _ in range(2))
    assert first == second
    assert first.limit == first.median
    assert first.satisfiable


def test_a_limit_is_satisfiable_down_to_the_smallest_network(costs: SpaceCosts) -> None:
    smallest = resolve([Constraint("madds", None)], SPACE, costs)[0].smallest
    for limit, expected in ((smallest, True), (smallest - 1, False)):
        (row,) = resolve([Constraint("madds", limit)], SPACE, costs)
        assert row.satisfiable is expected
        assert jointly_satisfiable({"madds": limit}, costs) is expected


@pytest.mark.parametrize("quantity", ["latency_ms", "madds", "params"])
def test_the_smallest_network_meets_a_limit_of_just_what_it_has(costs: SpaceCosts, quantity: str) -> None:
    smallest = resolve([Constraint(quantity, None)], SPACE, costs)[0].smallest
    assert jointly_satisfiable({quantity: smallest}, costs)
    assert not jointly_satisfiable({quantity: smallest * 0.999}, costs)


def test_no_limits_are_met_by_all(costs: SpaceCosts) -> None:
    assert jointly_satisfiable({}, costs)


def small_costs(tables: dict[str, np.ndarray], fixed: float = 2.0) -> SpaceCosts:
    shape = next(iter(tables.values())).shape
    return SpaceCosts(tables, dict.fromkeys(tables, fixed), np.zeros(shape, dtype=bool), False)


def test_limits_that_can_be_met_one_by_one_may_contradict_each_other() -> None:
    # What is fast has many parameters: 3 layers with one fast and large, one slow and small choice each.
    costs = small_costs({"latency_ms": np.tile([1.0, 5.0], (3, 1)), "params": np.tile([50.0, 10.0], (3, 1))})
    assert jointly_satisfiable({"latency_ms": 5.0}, costs)
    assert jointly_satisfiable({"params": 32.0}, costs)
    assert not jointly_satisfiable({"latency_ms": 5.0, "params": 32.0}, costs)
    assert not jointly_satisfiable({"latency_ms": 9.0, "params": 111.0}, costs)
    assert jointly_satisfiable({"latency_ms": 9.0, "params": 112.0}, costs)


@given(st.integers(0, 10_000), st.integers(4, 40), st.integers(4, 40))
def test_the_answer_is_that_of_trying_every_network(seed: int, first: int, second: int) -> None:
    rng = np.random.default_rng(seed)
    tables = {name: rng.integers(0, 10, size=(4, 3)).astype(float) for name in ("latency_ms", "params")}
    costs = small_costs(tables)
    limits = {"latency_ms": float(first), "params": float(second)}
    every = itertools.product(range(3), repeat=4)
    expected = any(all(costs.of(genome)[q] <= limit for q, limit in limits.items()) for genome in every)
    assert jointly_satisfiable(limits, costs) == expected
