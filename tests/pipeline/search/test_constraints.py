"""Limits: how they are written, what the space offers, and whether one network can meet all of them."""

from __future__ import annotations

import itertools
import math
import re

import numpy as np
import pytest
from fairnas.latency_tables import Predictor, load_table
from fairnas.models import get_space
from fairnas.pipeline.search.choice_program import largest, solve
from fairnas.pipeline.search.constraints import Constraint, jointly_satisfiable, limits_of, resolve
from fairnas.pipeline.search.costs import SpaceCosts, Spread, space_costs
from fairnas.pipeline.search.limits import Limit, read_limit
from fairnas.pipeline.search.quantities import COSTS, excess
from hypothesis import given, settings
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
        ("latency_upper_ms<=9.5", "latency_upper_ms", 9.5),
        ("latency_int8_ms<=4", "latency_int8_ms", 4.0),
        ("accuracy >= 0.6", "accuracy", 0.6),
    ],
)
def test_a_constraint_is_read(text: str, quantity: str, limit: float | None) -> None:
    assert Constraint.parse(text) == Constraint(quantity, limit)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (
            "latency<=8",
            "'latency<=8' is not a constraint: write one of latency_ms<=, latency_upper_ms<=, latency_int8_ms<=, "
            "madds<=, params<=, accuracy>= a number",
        ),
        ("accuracy>=1.1", "accuracy lies between 0 and 1"),
        ("accuracy>=0", "the limit must be a positive number"),
        ("accuracy>=median", "'median' is neither a number nor 'median'"),
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


@given(st.sampled_from(COSTS), st.integers(1, 10**12), st.integers(0, 9))
def test_text_round_trips(quantity: str, digits: int, places: int) -> None:
    constraint = Constraint(quantity, digits / 10**places)
    assert Constraint.parse(str(constraint)) == constraint
    assert Constraint.parse("accuracy>=0.25") == Constraint("accuracy", 0.25)
    assert str(Constraint("accuracy", 0.25)) == "accuracy>=0.25"


@given(st.floats(1e-3, 1e9), st.integers(-3, 3))
def test_a_limit_is_broken_by_the_smallest_step_beyond_it(limit: float, steps: int) -> None:
    value = limit
    for _ in range(abs(steps)):
        value = math.nextafter(value, math.copysign(math.inf, steps))
    assert (excess("latency_ms", value, limit) > 0) == (steps > 0)
    assert (excess("accuracy", value, limit) > 0) == (steps < 0)


def test_limits_as_texts_keep_every_digit() -> None:
    limits = [Limit("latency_ms", 0.1 + 0.2), Limit("accuracy", 0.5)]
    assert [str(limit) for limit in limits] == ["latency_ms<=0.30000000000000004", "accuracy>=0.5"]
    assert [read_limit(str(limit)) for limit in limits] == limits


@pytest.mark.parametrize(
    "text", ["", "latency_ms<=", "latency_ms<=fast", "latency_ms<=nan", "<=3", "3", 3, None, ["a<=3"]]
)
def test_what_is_no_limit_is_read_as_none(text: object) -> None:
    assert read_limit(text) is None


def test_limits_of_earlier_versions_are_read_as_they_were_written() -> None:
    assert read_limit("latency_ms<=60") == Limit("latency_ms", 60.0)
    assert read_limit(" madds <= 400e6 ") == Limit("madds", 4e8)


def test_smallest_and_largest_are_bounds_that_networks_reach(costs: SpaceCosts) -> None:
    quantities = ("latency_ms", "latency_upper_ms", "madds", "params")
    table = resolve([Constraint(quantity, 1.0) for quantity in (*quantities, "accuracy")], SPACE, costs)
    assert [row.quantity for row in table] == list(quantities)  # nobody knows accuracies before the search
    rng = np.random.default_rng(0)
    for row in table:
        if row.quantity not in costs.spreads:
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
    constraints = [Constraint("latency_ms", None), Constraint("accuracy", 0.5)]
    assert limits_of(constraints, [first]) == {"latency_ms": first.median, "accuracy": 0.5}


def test_a_limit_is_satisfiable_down_to_the_smallest_network(costs: SpaceCosts) -> None:
    smallest = resolve([Constraint("madds", None)], SPACE, costs)[0].smallest
    for limit, expected in ((smallest, True), (smallest - 1, False)):
        (row,) = resolve([Constraint("madds", limit)], SPACE, costs)
        assert row.satisfiable is expected
        assert jointly_satisfiable({"madds": limit}, costs) is expected


@pytest.mark.parametrize("quantity", ["latency_ms", "latency_upper_ms", "madds", "params"])
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


@given(st.integers(0, 10_000), st.floats(0.02, 0.98), st.floats(0.02, 0.98))
@settings(max_examples=60, deadline=None)
def test_upper_ends_are_treated_exactly_although_they_are_no_sums(seed: int, first: float, second: float) -> None:
    """Beside every network of a small space: the cheapest one, and whether one keeps two limits at once."""
    rng = np.random.default_rng(seed)
    shape, groups = (4, 3), int(rng.integers(1, 6))
    tables = {"params": rng.uniform(0, 10, size=shape), "latency_upper_ms": rng.uniform(0, 10, size=shape)}
    spread = Spread.by_group(
        rng.uniform(0, 20, size=shape), rng.integers(groups, size=shape), rng.uniform(0, 3, size=groups)
    )
    flags = np.zeros(shape, dtype=bool)
    costs = SpaceCosts(tables, dict.fromkeys(tables, 2.0), flags, False, {"latency_upper_ms": spread})
    every = [costs.of(genome) for genome in itertools.product(range(3), repeat=4)]
    limits = {}
    for quantity, share in (("latency_upper_ms", first), ("params", second)):
        values = sorted(values[quantity] for values in every)
        cheapest = solve(costs, {}, minimise=quantity)
        assert cheapest is not None
        assert costs.of(cheapest)[quantity] == pytest.approx(values[0], abs=1e-5)
        assert costs.of(largest(costs, quantity))[quantity] <= values[-1]
        # Between two networks, where the solver's tolerance does not matter.
        place = int(share * (len(values) - 1))
        limits[quantity] = (values[place] + values[place + 1]) / 2
    expected = any(all(values[q] <= limit for q, limit in limits.items()) for values in every)
    assert jointly_satisfiable(limits, costs) == expected
    assert jointly_satisfiable(limits | {"accuracy": 0.99}, costs) == expected
