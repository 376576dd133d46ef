"""The figures of a ranking: published ones, their definitions by brute force, ties, and intervals."""

from __future__ import annotations

from itertools import combinations

import numpy as np
import pytest
from fairnas.pipeline.ranking.metrics import agreement, certify, count_pairs
from hypothesis import given
from hypothesis import strategies as st

MODELS = 13


def with_discordant(pairs: int) -> np.ndarray:
    """An order of 13 models in which that many pairs are turned round: each step moves one down past its neighbour."""
    order = list(range(MODELS))
    turned = 0
    for sweep in range(MODELS):
        for place in range(MODELS - 1 - sweep):
            if turned == pairs:
                return np.array(order)
            order[place], order[place + 1] = order[place + 1], order[place]
            turned += 1
    return np.array(order)


@pytest.mark.parametrize(("published", "discordant"), [(0.9487, 2), (0.6153, 15), (0.4871, 20)])
def test_published_values_of_13_models_are_whole_numbers_of_discordant_pairs(published: float, discordant: int) -> None:
    scores, truth = with_discordant(discordant), np.arange(MODELS)
    assert count_pairs(scores, truth).pairs == 78
    assert count_pairs(scores, truth).discordant == discordant
    assert agreement(scores, truth).tau_b == pytest.approx(published, abs=1e-4)


def test_the_figure_of_the_repository_cannot_be_a_tau_of_13_untied_models() -> None:
    attainable = [agreement(with_discordant(count), np.arange(MODELS)).tau_b for count in range(79)]
    assert min(abs(tau - 0.4781) for tau in attainable) > 0.008
    assert len({round(tau, 6) for tau in attainable}) == 79


values = st.lists(st.tuples(st.integers(0, 4), st.integers(0, 4)), min_size=2, max_size=12)


@given(values)
def test_figures_are_what_their_definitions_say_of_every_pair(pairs: list[tuple[int, int]]) -> None:
    scores, truth = (np.array(side, dtype=float) for side in zip(*pairs, strict=True))
    products = [
        (np.sign(scores[i] - scores[j]), np.sign(truth[i] - truth[j])) for i, j in combinations(range(len(truth)), 2)
    ]
    concordant, discordant = (sum(a * b == sign for a, b in products) for sign in (1, -1))
    counted = count_pairs(scores, truth)
    assert (counted.concordant, counted.discordant) == (concordant, discordant)
    assert counted.tied_scores == sum(a == 0 for a, _ in products)
    assert counted.tied_truth == sum(b == 0 for _, b in products)
    assert counted.tied_both == sum(a == b == 0 for a, b in products)
    found = agreement(scores, truth)
    if counted.tied_scores < len(products) and counted.tied_truth < len(products):
        untied = (len(products) - counted.tied_scores) * (len(products) - counted.tied_truth)
        assert found.tau_b == pytest.approx((concordant - discordant) / untied**0.5, abs=1e-9)
    else:
        assert np.isnan(found.tau_b)
    ordered = [(a, b) for a, b in products if b != 0]
    if ordered:
        share = np.mean([1.0 if a == b else 0.5 if a == 0 else 0.0 for a, b in ordered])
        assert found.pairwise_accuracy == pytest.approx(share, abs=1e-9)
    else:
        assert np.isnan(found.pairwise_accuracy)


@given(values)
def test_figures_do_not_depend_on_the_order_of_the_list(pairs: list[tuple[int, int]]) -> None:
    scores, truth = (np.array(side, dtype=float) for side in zip(*pairs, strict=True))
    other = np.random.default_rng(0).permutation(len(truth))
    np.testing.assert_allclose(
        vars_of(agreement(scores, truth)), vars_of(agreement(scores[other], truth[other])), atol=1e-12
    )


def test_naos_pairwise_accuracy_depends_on_the_order_where_scores_tie() -> None:
    """Why ours is another: the same two architectures, listed the other way round."""

    def nao(a: list[float], b: list[float]) -> bool:
        return (a[0] >= a[1] and b[0] >= b[1]) or (a[0] < a[1] and b[0] < b[1])

    assert nao([1, 1], [2, 1]) != nao([1, 1], [1, 2])
    assert agreement(np.array([1.0, 1]), np.array([2.0, 1])).pairwise_accuracy == 0.5


def test_without_ties_pairwise_accuracy_is_tau_on_another_scale() -> None:
    rng = np.random.default_rng(0)
    scores, truth = rng.random(40), rng.random(40)
    found = agreement(scores, truth)
    assert found.pairwise_accuracy == pytest.approx((found.tau_b + 1) / 2)


def test_an_interval_is_reproducible_holds_its_value_and_narrows_with_n() -> None:
    rng = np.random.default_rng(1)
    truth = rng.random(400)
    scores = truth + rng.normal(0, 0.3, 400)
    few, many = (certify(scores[:n], truth[:n], resamples=300) for n in (40, 400))
    assert certify(scores, truth, resamples=300) == many
    assert certify(scores, truth, resamples=300, seed=1)["tau_b"]["low"] != many["tau_b"]["low"]
    for figure in ("tau_b", "spearman", "pairwise_accuracy"):
        assert many[figure]["low"] < many[figure]["value"] < many[figure]["high"]
        assert few[figure]["high"] - few[figure]["low"] > 2 * (many[figure]["high"] - many[figure]["low"])


def test_intervals_cover_the_true_tau_about_as_often_as_they_say() -> None:
    """Normal pairs with correlation 0.6 have tau = 2 / pi * asin(0.6)."""
    rng = np.random.default_rng(2)
    true = 2 / np.pi * np.arcsin(0.6)
    inside = 0
    for _ in range(40):
        scores, truth = rng.multivariate_normal([0, 0], [[1, 0.6], [0.6, 1]], size=60).T
        tau = certify(scores, truth, resamples=100)["tau_b"]
        inside += tau["low"] <= true <= tau["high"]
    assert inside >= 34


def test_a_side_without_order_has_no_figure_instead_of_a_wrong_one() -> None:
    found = certify(np.ones(5), np.arange(5.0), resamples=100)
    assert found["tau_b"] == found["spearman"] == {"value": None, "low": None, "high": None}
    assert found["pairwise_accuracy"]["value"] == 0.5


def vars_of(found: object) -> list[float]:
    return [getattr(found, name) for name in ("tau_b", "spearman", "pairwise_accuracy")]
