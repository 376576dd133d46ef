"""NSGA-II: reproducible, never repeats itself, Deb's ordering, and finds a known front."""

from __future__ import annotations

import json
from itertools import pairwise

import numpy as np
import pytest
from fairnas.pipeline.search.algorithms.fitness import order_by_fitness
from fairnas.pipeline.search.algorithms.interface import Genome
from fairnas.pipeline.search.algorithms.mutation import RandomMutation
from fairnas.pipeline.search.algorithms.nsga2 import NSGA2
from hypothesis import given
from hypothesis import strategies as st

LAYERS, CHOICES = 12, 6
GENES = (CHOICES,) * LAYERS


def scores(genomes: list[Genome]) -> tuple[np.ndarray, np.ndarray]:
    """Two objectives that pull against each other, and a limit on the second."""
    values = np.array(genomes)
    price = values.sum(axis=1)
    error = ((CHOICES - 1 - values) ** 2).sum(axis=1) + (values[:, ::3] % 2).sum(axis=1)
    return np.stack([error, price], axis=1).astype(float), np.maximum(0, price / 45 - 1)


def advance(algorithm: NSGA2, generations: int) -> list[list[Genome]]:
    asked: list[list[Genome]] = []
    for _ in range(generations):
        genomes = algorithm.ask()
        asked.append(genomes)
        algorithm.tell(genomes, *scores(genomes))
    return asked


def test_a_seed_decides_everything() -> None:
    one, same, other = (advance(NSGA2(GENES, 10, seed), 6) for seed in (1, 1, 2))
    assert one == same
    assert one != other


@pytest.mark.parametrize("stop", [0, 1, 4])
def test_a_search_goes_on_from_its_state_as_if_never_stopped(stop: int) -> None:
    whole = advance(NSGA2(GENES, 10, 3), 8)
    first = NSGA2(GENES, 10, 3)
    advance(first, stop)
    second = NSGA2(GENES, 10, 99)
    second.load_state(json.loads(json.dumps(first.state())))
    assert second.state() == first.state()
    assert advance(second, 8 - stop) == whole[stop:]


def test_no_genome_is_asked_twice_and_all_are_valid() -> None:
    asked = [genome for generation in advance(NSGA2(GENES, 16, 0), 40) for genome in generation]
    assert len(asked) == len(set(asked)) == 640
    assert all(len(genome) == LAYERS and set(genome) <= set(range(CHOICES)) for genome in asked)
    assert all(type(gene) is int for gene in asked[-1])


def test_a_small_space_is_exhausted_once_and_then_nothing_is_asked() -> None:
    algorithm = NSGA2((3, 3), population=4, seed=0)
    sizes: list[int] = []
    asked: list[Genome] = []
    for _ in range(4):
        genomes = algorithm.ask()
        sizes.append(len(genomes))
        asked += genomes
        if genomes:
            algorithm.tell(genomes, np.array(genomes, dtype=float), np.zeros(len(genomes)))
        else:
            algorithm.tell([], np.empty((0, 2)), np.empty(0))
    assert sizes == [4, 4, 1, 0]
    assert set(asked) == {(a, b) for a in range(3) for b in range(3)}


def test_evolution_beats_random_sampling_on_the_same_budget() -> None:
    def best(genomes: list[Genome]) -> float:
        objectives, violations = scores(genomes)
        return objectives[violations <= 0][:, 0].min(initial=np.inf)

    evolved = [g for generation in advance(NSGA2(GENES, 20, 0), 30) for g in generation]
    rng = np.random.default_rng(0)
    drawn: list[Genome] = [tuple(row) for row in rng.integers(CHOICES, size=(600, LAYERS)).tolist()]
    assert best(evolved) < best(drawn)


def test_survivors_are_the_best_of_parents_and_children() -> None:
    algorithm = NSGA2(GENES, 10, 0)
    survivors: list[Genome] = []
    for _ in range(6):
        pool = survivors + (children := algorithm.ask())
        algorithm.tell(children, *scores(children))
        survivors = [tuple(genome) for genome in algorithm.state()["genomes"]]
        assert len(survivors) == 10
        objectives, violations = scores(pool)
        front = {pool[i] for i in np.flatnonzero(violations <= 0).tolist() if not dominated(i, objectives, violations)}
        assert front <= set(survivors) if len(front) <= 10 else set(survivors) <= front


def test_children_come_from_two_parents_and_mutation() -> None:
    algorithm = NSGA2(GENES, 2, 0, 1.0, RandomMutation(GENES, 0.0))
    parents: list[Genome] = [(0,) * LAYERS, (5,) * LAYERS]
    algorithm.tell(parents, np.array([[0.0, 1.0], [1.0, 0.0]]), np.zeros(2))
    # Single-point crossover of two constant genomes: one switch at most. Copies of the parents were never asked.
    for child in algorithm.ask():
        assert sum(a != b for a, b in pairwise(child)) <= 1
    always = NSGA2(GENES, 4, 0, 0.0, RandomMutation(GENES, 1.0))
    always.tell(parents[:1], np.zeros((1, 2)), np.zeros(1))
    assert all(0 not in child for child in always.ask())


def dominated(index: int, objectives: np.ndarray, violations: np.ndarray) -> bool:
    """Whether a feasible member dominates it, from the definition."""
    others = objectives[violations <= 0]
    return bool(((others <= objectives[index]).all(axis=1) & (others < objectives[index]).any(axis=1)).any())


@given(
    st.lists(
        st.tuples(st.integers(0, 4), st.integers(0, 4), st.integers(0, 4), st.sampled_from([0.0, 0.0, 0.0, 0.1, 0.5])),
        min_size=1,
        max_size=25,
    )
)
def test_debs_ordering(rows: list[tuple[int, int, int, float]]) -> None:
    table = np.array(rows, dtype=float)
    objectives, violations = table[:, :3], table[:, 3]
    order, ranks = order_by_fitness(objectives, violations)
    assert sorted(order) == list(range(len(rows)))
    assert ranks == sorted(ranks)
    rank_of = dict(zip(order, ranks, strict=True))
    feasible = [i for i in order if violations[i] <= 0]
    infeasible = [i for i in order if violations[i] > 0]
    assert order == feasible + infeasible
    assert [violations[i] for i in infeasible] == sorted(violations[i] for i in infeasible)
    assert not feasible or not infeasible or rank_of[infeasible[0]] > rank_of[feasible[-1]]
    for i in feasible:
        assert (rank_of[i] == 0) == (not dominated(i, objectives, violations))
    for i in feasible:
        for j in feasible:
            if (objectives[i] <= objectives[j]).all() and (objectives[i] < objectives[j]).any():
                assert rank_of[i] < rank_of[j]


def test_within_a_rank_lonely_members_come_first() -> None:
    # A front on a line; the ends have infinite distance, then the one with the widest gap around it.
    objectives = np.array([[0.0, 10], [1, 9], [2, 8], [6, 4], [10, 0]])
    order, ranks = order_by_fitness(objectives, np.zeros(5))
    assert ranks == [0] * 5
    assert set(order[:2]) == {0, 4}
    assert order[2:] == [3, 2, 1]


def test_equal_fitness_keeps_the_older_first() -> None:
    order, _ = order_by_fitness(np.ones((4, 2)), np.zeros(4))
    assert sorted(order) == [0, 1, 2, 3]
    assert order == order_by_fitness(np.ones((4, 2)), np.zeros(4))[0]
    assert order_by_fitness(np.ones((3, 2)), np.full(3, 0.5))[0] == [0, 1, 2]
