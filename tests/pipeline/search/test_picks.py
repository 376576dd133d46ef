"""Picks: evenly spaced on the front, filled up from the next fronts, never infeasible."""

from __future__ import annotations

import numpy as np
from fairnas.pipeline.search.picks import pick_evenly
from hypothesis import given
from hypothesis import strategies as st


def test_picks_are_evenly_spaced_along_the_front() -> None:
    position = np.array([0.0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10])
    objectives = np.stack([position, -position], axis=1)
    feasible = np.zeros(11)
    assert pick_evenly(objectives, feasible, position, 3) == [0, 5, 10]
    assert pick_evenly(objectives, feasible, position, 5) == [0, 2, 5, 7, 10]
    assert pick_evenly(objectives, feasible, position, 11) == list(range(11))
    assert pick_evenly(objectives, feasible, position, 1) == [5]


def test_spacing_goes_by_position_and_not_by_number() -> None:
    # Ten members crowd together at the cheap end.
    position = np.array([*np.linspace(0, 1, 10), 50.0, 100.0])
    picks = pick_evenly(np.stack([position, -position], axis=1), np.zeros(12), position, 3)
    assert picks == [0, 10, 11]


def test_dominated_members_are_not_picked_while_the_front_is_large_enough() -> None:
    latency = np.array([1.0, 2, 3, 1.5, 2.5])
    accuracy = np.array([0.5, 0.6, 0.7, 0.4, 0.55])
    assert pick_evenly(np.stack([latency, -accuracy], axis=1), np.zeros(5), latency, 3) == [0, 1, 2]


def test_a_front_of_one_is_filled_up_from_the_next_fronts() -> None:
    # Constant accuracy: every front is a single architecture, the cheapest left.
    latency = np.array([5.0, 3, 4, 1, 2, 6])
    objectives = np.stack([latency, np.full(6, -0.1)], axis=1)
    assert pick_evenly(objectives, np.zeros(6), latency, 3) == [3, 4, 1]


def test_infeasible_members_are_never_picked() -> None:
    latency = np.array([1.0, 2, 3, 4])
    objectives = np.stack([latency, -latency], axis=1)
    violations = np.array([0.1, 0, 0, 0.2])
    assert pick_evenly(objectives, violations, latency, 3) == [1, 2]
    assert pick_evenly(objectives, np.ones(4), latency, 3) == []


@given(
    st.lists(st.tuples(st.integers(0, 5), st.integers(0, 5), st.booleans()), min_size=1, max_size=20),
    st.integers(1, 6),
)
def test_as_many_different_feasible_picks_as_can_be(rows: list[tuple[int, int, bool]], count: int) -> None:
    table = np.array(rows, dtype=float)
    violations = table[:, 2]
    picks = pick_evenly(table[:, :2], violations, table[:, 0], count)
    assert len(picks) == len(set(picks)) == min(count, int((violations == 0).sum()))
    assert all(violations[i] == 0 for i in picks)
    assert [table[i, 0] for i in picks] == sorted(table[i, 0] for i in picks)
    # Nobody better is passed over for somebody worse: a pick is not dominated by a feasible one that was not picked.
    left = [i for i in range(len(rows)) if violations[i] == 0 and i not in picks]
    for i in picks:
        for j in left:
            assert not ((table[j, :2] <= table[i, :2]).all() and (table[j, :2] < table[i, :2]).any())
