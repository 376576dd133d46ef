"""What every search algorithm must pass."""

from __future__ import annotations

import json
from collections.abc import Sequence
from math import prod
from typing import Any

import numpy as np
import pytest
import torch
from fairnas.pipeline.errors import UserError
from fairnas.pipeline.search.algorithms import ALGORITHMS, make_algorithm
from fairnas.pipeline.search.algorithms.interface import Algorithm, Genome
from fairnas.pipeline.search.picks import pick_evenly
from fairnas.pipeline.search.settings import SearchConfig
from hypothesis import given, settings
from hypothesis import strategies as st

LAYERS, CHOICES, POPULATION = 8, 4, 12
NAMES = list(ALGORITHMS)
every_algorithm = pytest.mark.parametrize("name", NAMES)


def make(
    name: str,
    seed: int = 0,
    layers: int = LAYERS,
    choices: int = CHOICES,
    genes: Sequence[int] | None = None,
    **values: Any,
) -> Algorithm:
    small = {"controller": {"hidden": 16, "epochs": 2}}
    config = SearchConfig.model_validate(
        {
            "algorithm": name,
            "generations": 1,
            "population": POPULATION,
            "hierarchical_mutation": small,
            "mnasnet": small,
            "regularized_evolution": {"alive": 20, "sample": 5},
            **values,
        }
    )
    return make_algorithm(config, genes or (choices,) * layers, seed)


def score(genomes: list[Genome], limit: float = np.inf) -> tuple[np.ndarray, np.ndarray]:
    """Accuracy that rises with every gene, a latency that rises with it, and a limit on the latency."""
    values = np.array(genomes, dtype=float)
    latency = 1 + values.sum(axis=1) + (values[:, ::2] == 2).sum(axis=1)
    accuracy = 1 - 1 / (1 + values.sum(axis=1) + values[:, 1::2].sum(axis=1))
    return np.stack([-accuracy, latency], axis=1), np.maximum(0, latency / limit - 1)


def advance(algorithm: Algorithm, generations: int, limit: float = np.inf) -> list[list[Genome]]:
    asked: list[list[Genome]] = []
    for _ in range(generations):
        asked.append(algorithm.ask())
        if asked[-1]:
            algorithm.tell(asked[-1], *score(asked[-1], limit))
    return asked


@every_algorithm
def test_a_seed_decides_everything(name: str) -> None:
    one, same, other = (advance(make(name, seed), 8) for seed in (1, 1, 2))
    assert one == same
    assert one != other


@every_algorithm
def test_random_numbers_of_others_are_left_alone_and_not_used(name: str) -> None:
    torch.manual_seed(0)
    np.random.seed(0)
    expected = advance(make(name), 5)
    after = torch.rand(1).item(), np.random.random()
    torch.manual_seed(0)
    np.random.seed(0)
    assert (torch.rand(1).item(), np.random.random()) == after
    assert advance(make(name), 5) == expected


@every_algorithm
def test_threads_of_torch_change_nothing_and_stay_as_they_were(name: str) -> None:
    threads = torch.get_num_threads()
    try:
        torch.set_num_threads(1)
        expected = make(name, layers=19, choices=6)
        one = advance(expected, 4)
        torch.set_num_threads(2)
        other = make(name, layers=19, choices=6)
        assert advance(other, 4) == one
        assert other.state() == expected.state()
        assert torch.get_num_threads() == 2
    finally:
        torch.set_num_threads(threads)


@every_algorithm
@pytest.mark.parametrize("stop", [0, 1, 5])
def test_a_search_goes_on_from_its_state_as_if_never_stopped(name: str, stop: int) -> None:
    unbroken = make(name, 3)
    whole = advance(unbroken, 9, limit=14)
    first = make(name, 3)
    advance(first, stop, limit=14)
    second = make(name, 99)
    second.load_state(json.loads(json.dumps(first.state())))
    assert second.state() == first.state()
    assert advance(second, 9 - stop, limit=14) == whole[stop:]
    assert second.state() == unbroken.state()


@every_algorithm
def test_a_state_saved_between_asking_and_telling_is_whole_too(name: str) -> None:
    first, second = make(name, 3), make(name, 99)
    advance(first, 3)
    asked = first.ask()
    second.load_state(json.loads(json.dumps(first.state())))
    for algorithm in (first, second):
        algorithm.tell(asked, *score(asked))
    assert second.state() == first.state()
    assert second.ask() == first.ask()


@every_algorithm
def test_no_genome_is_asked_twice_and_all_are_valid(name: str) -> None:
    asked = [genome for generation in advance(make(name), 30) for genome in generation]
    assert len(asked) == len(set(asked)) == 30 * POPULATION
    assert all(len(genome) == LAYERS and set(genome) <= set(range(CHOICES)) for genome in asked)
    assert all(type(gene) is int for genome in asked for gene in genome)


@every_algorithm
def test_genes_may_differ_in_how_many_values_they_have(name: str) -> None:
    genes = (2, 7, 1, 3, 5, 4)
    algorithm = make(name, genes=genes)
    advance(algorithm, 6)
    proposed = algorithm._propose(3000)
    assert [sorted(set(column)) for column in proposed.T.tolist()] == [list(range(count)) for count in genes]
    asked = [genome for generation in advance(make(name, genes=genes), 75) for genome in generation]
    assert len(asked) == len(set(asked)) == prod(genes)
    assert [sorted(set(column)) for column in zip(*asked, strict=True)] == [list(range(count)) for count in genes]


@every_algorithm
@pytest.mark.parametrize(("layers", "choices"), [(2, 5), (1, 30), (3, 1), (4, 2)])
def test_a_small_space_is_exhausted_once_and_then_nothing_is_asked(name: str, layers: int, choices: int) -> None:
    algorithm = make(name, layers=layers, choices=choices)
    asked = [genome for generation in advance(algorithm, 4) for genome in generation]
    assert len(asked) == len(set(asked)) == choices**layers
    assert algorithm.ask() == []
    algorithm.tell([], np.empty((0, 2)), np.empty(0))
    assert algorithm.ask() == []


def learning(name: str) -> dict[str, Any]:
    """Options with which a controller learns in a few generations."""
    controller = {"hidden": 16, "epochs": 5, "lr": 0.02, "entropy": 0.0}
    return {"mnasnet": {"exponent": 0.0, "controller": controller}} if name == "mnasnet" else {}


@pytest.mark.parametrize("name", [name for name in NAMES if name != "random"])
def test_a_search_finds_more_than_chance_does(name: str) -> None:
    """Best accuracy, in the mean over seeds."""

    def best(who: str, seed: int) -> float:
        asked = advance(make(who, seed, layers=16, **learning(who)), 25)
        return max(-score(genomes)[0][:, 0].min() for genomes in asked)

    found = {who: np.mean([best(who, seed) for seed in range(3)]) for who in (name, "random")}
    assert found[name] > found["random"]


@pytest.mark.parametrize("name", [name for name in NAMES if name != "random"])
def test_from_an_infeasible_start_a_search_reaches_feasibility(name: str) -> None:
    """Of genomes whose 16 genes have the sum 24 in the mean, those with at most about 10 are feasible."""
    algorithm = make(name, layers=16, **learning(name))
    asked = advance(algorithm, 45, limit=11)
    assert not (score(asked[0], 11)[1] <= 0).any()
    assert any((score(genomes, 11)[1] <= 0).any() for genomes in asked[-5:])


@settings(max_examples=25, deadline=None)
@given(
    st.sampled_from(NAMES),
    st.integers(0, 2**32 - 1),
    st.lists(st.tuples(st.integers(1, 3), st.floats(0.0, 1.0)), min_size=1, max_size=3),
)
def test_no_pick_ever_breaks_a_limit(name: str, seed: int, limits: list[tuple[int, float]]) -> None:
    """Random tables of accuracy and three costs; limits at random quantiles of the costs, contradictory ones too."""
    rng = np.random.default_rng(seed)
    table = rng.random((3**4, 4))
    quantiles = {column: float(np.quantile(table[:, column], share)) for column, share in limits}
    algorithm = make(name, seed, layers=4, choices=3)
    rows: list[int] = []
    for _ in range(4):
        genomes = algorithm.ask()
        rows += [int(np.ravel_multi_index(genome, (3,) * 4)) for genome in genomes]
        told = table[rows[-len(genomes) :]]
        algorithm.tell(genomes, np.stack([-told[:, 0], told[:, 1]], axis=1), violation(told, quantiles))
    found = table[rows]
    picks = pick_evenly(
        np.stack([-found[:, 0], found[:, 1]], axis=1), violation(found, quantiles), found[:, 1], count=3
    )
    assert all(found[pick, column] <= limit for pick in picks for column, limit in quantiles.items())
    met = np.all([found[:, column] <= limit for column, limit in quantiles.items()], axis=0)
    assert len(picks) == min(3, met.sum())


def violation(rows: np.ndarray, limits: dict[int, float]) -> np.ndarray:
    return sum((np.maximum(0, rows[:, c] / limit - 1) for c, limit in limits.items()), np.zeros(len(rows)))


@pytest.mark.parametrize("name", ["mnasnet", "regularized-evolution"])
def test_an_algorithm_that_needs_accuracy_says_so(name: str) -> None:
    with pytest.raises(UserError, match=r"needs accuracy among search\.objectives, which are madds, params"):
        make(name, objectives={"madds": "minimize", "params": "minimize"})


@every_algorithm
def test_a_long_search_costs_little_and_its_state_stays_small(name: str) -> None:
    algorithm = make(name, layers=19, choices=6)
    advance(algorithm, 20)
    assert len(json.dumps(algorithm.state())) < 1_000_000
