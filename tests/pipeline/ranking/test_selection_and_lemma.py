"""What picking by score finds, against enumeration; and Lemma 2.1, against counting."""

from __future__ import annotations

from itertools import combinations, product
from math import comb

import numpy as np
import pytest
from fairnas.pipeline.ranking.lemma import probability_of_equal_counts, stirling_approximation, trials_up_to
from fairnas.pipeline.ranking.selection import expected_best_by, expected_maximum, expected_pick, selection
from hypothesis import given
from hypothesis import strategies as st


def pick(scores: tuple[float, ...], truth: tuple[float, ...]) -> float:
    """True value of the best by score, ties broken at random."""
    return float(np.mean([t for s, t in zip(scores, truth, strict=True) if s == max(scores)]))


@given(st.lists(st.tuples(st.integers(0, 3), st.integers(0, 9)), min_size=1, max_size=7), st.data())
def test_expectations_are_those_of_all_draws(pairs: list[tuple[int, int]], data: st.DataObject) -> None:
    scores, truth = (np.array(side, dtype=float) for side in zip(*pairs, strict=True))
    budget = data.draw(st.integers(1, len(pairs)))
    draws = [tuple(zip(*draw, strict=True)) for draw in combinations(pairs, budget)]
    assert expected_pick(scores, truth, budget) == pytest.approx(np.mean([pick(*draw) for draw in draws]))
    assert expected_maximum(truth, budget) == pytest.approx(np.mean([max(draw[1]) for draw in draws]))
    # The `budget` best by score, those tied for the last places in every way.
    tops = [c for c in combinations(range(len(pairs)), budget) if top_by_score(scores, c)]
    assert expected_best_by(scores, truth, budget) == pytest.approx(np.mean([truth[list(c)].max() for c in tops]))


def top_by_score(scores: np.ndarray, chosen: tuple[int, ...]) -> bool:
    left = np.delete(scores, chosen)
    return not len(left) or scores[list(chosen)].min() >= left.max()


def test_a_perfect_ranking_finds_the_best_and_a_useless_one_does_as_random_search() -> None:
    truth = np.random.default_rng(0).random(50)
    perfect, useless = selection(truth, truth), selection(np.ones(50), truth)
    assert perfect["top"][0]["oneshot_rank"] == 1
    assert perfect["top"][0]["oneshot_regret"] == 0
    for row in useless["top"]:
        assert row["oneshot"] == row["random"]
    assert perfect["budget"]["oneshot"] == perfect["budget"]["best"]
    assert useless["budget"]["oneshot"] == [perfect["budget"]["random"]] * len(perfect["budget"]["oneshot"])


@pytest.mark.parametrize(("choices", "trials"), [(2, 2), (2, 8), (3, 6), (4, 8)])
def test_the_exact_curve_counts_all_sequences(choices: int, trials: int) -> None:
    equal = sum(
        all(sequence.count(choice) == trials // choices for choice in range(choices))
        for sequence in product(range(choices), repeat=trials)
    )
    found = probability_of_equal_counts(choices, np.array([trials]))[0]
    assert found == pytest.approx(equal / choices**trials)


def test_two_choices_are_equal_with_less_than_one_fifth_from_20_trials_on_as_the_paper_says() -> None:
    trials = trials_up_to(2, 10**6, points=400)
    curve = probability_of_equal_counts(2, trials)
    assert (curve[trials >= 20] < 0.2).all()
    assert curve[list(trials).index(20)] == pytest.approx(comb(20, 10) / 2**20)
    # It is below already at 16.
    assert probability_of_equal_counts(2, np.array([14]))[0] > 0.2 > probability_of_equal_counts(2, np.array([16]))[0]


@pytest.mark.parametrize("choices", [2, 3, 5, 6])
def test_the_curve_falls_and_stirling_meets_it_at_a_million_trials(choices: int) -> None:
    trials = trials_up_to(choices, 10**6)
    curve, approximation = probability_of_equal_counts(choices, trials), stirling_approximation(choices, trials)
    assert (np.diff(curve) < 0).all()
    assert trials[-1] > 990_000
    assert curve[-1] == pytest.approx(approximation[-1], rel=1e-5)
    assert abs(approximation[0] / curve[0] - 1) > 0.02


def test_trials_that_the_choices_do_not_divide_are_refused() -> None:
    with pytest.raises(ValueError, match="multiples of 6"):
        probability_of_equal_counts(6, np.array([6, 7]))
