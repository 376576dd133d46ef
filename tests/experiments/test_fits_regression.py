"""The regression finds what made the data, resists odd measurements, and never sees what it predicts."""

from __future__ import annotations

import numpy as np
import pytest
from fairnas.experiments.latency_fits import regression
from fairnas.experiments.latency_fits.regression import (
    choose_features,
    cross_validate,
    fit_coefficients,
    nested_cross_validate,
)

TRUE = np.array([3e-7, 5e-6, 0.02])


@pytest.fixture
def design() -> np.ndarray:
    return np.random.default_rng(0).uniform(0.1, 1, (60, 3)) * [1e7, 1e5, 10]


def test_the_fit_finds_the_coefficients_behind_exact_measurements(design: np.ndarray) -> None:
    np.testing.assert_allclose(fit_coefficients(design, design @ TRUE), TRUE, rtol=1e-6)


def test_one_odd_measurement_does_not_move_the_fit(design: np.ndarray) -> None:
    latencies = design @ TRUE
    latencies[20] *= 3
    np.testing.assert_allclose(fit_coefficients(design, latencies), TRUE, rtol=1e-6)
    errors = cross_validate(design, latencies, range(60))
    assert errors[20] == pytest.approx(1 / 3 - 1, rel=1e-6)
    assert np.abs(np.delete(errors, 20)).max() < 1e-6


def test_coefficients_never_go_below_zero_and_unused_features_cost_nothing(design: np.ndarray) -> None:
    noise = np.random.default_rng(1).uniform(0.1, 10, 60)
    coefficients = fit_coefficients(np.column_stack([design, np.zeros(60)]), noise)
    assert (coefficients >= 0).all()
    assert coefficients[3] == 0


def test_no_other_coefficients_have_a_smaller_mean_relative_error(design: np.ndarray) -> None:
    rng = np.random.default_rng(2)
    latencies = design @ TRUE * rng.uniform(0.8, 1.2, 60)
    found = fit_coefficients(design, latencies)
    least = np.abs(design @ found / latencies - 1).mean()
    for _ in range(500):
        other = np.abs(found * rng.normal(1, 0.02, 3))
        assert np.abs(design @ other / latencies - 1).mean() >= least - 1e-12


def test_differences_of_blocks_may_have_less_of_a_feature(design: np.ndarray) -> None:
    design[::4, 1] *= -0.01
    np.testing.assert_allclose(fit_coefficients(design, design @ TRUE), TRUE, rtol=1e-6)


def test_a_held_out_group_is_predicted_by_a_fit_that_has_not_seen_it(
    design: np.ndarray, monkeypatch: pytest.MonkeyPatch
) -> None:
    groups = [index % 7 for index in range(60)]
    latencies = design @ TRUE
    rows = {tuple(row): group for row, group in zip(design, groups, strict=True)}
    seen: list[set[int]] = []

    def spy(part: np.ndarray, measured: np.ndarray) -> np.ndarray:
        seen.append({rows[tuple(row)] for row in part})
        return fit_coefficients(part, measured)

    monkeypatch.setattr(regression, "fit_coefficients", spy)
    cross_validate(design, latencies, groups)
    assert seen == [set(range(7)) - {group} for group in range(7)]


def test_what_only_a_group_has_is_unknown_when_it_is_held_out(design: np.ndarray) -> None:
    groups = ["odd"] * 5 + ["even"] * 55
    design[5:, 2] = 0
    errors = cross_validate(design, design @ TRUE, groups)
    expected = -design[:5, 2] * TRUE[2] / (design[:5] @ TRUE)
    np.testing.assert_allclose(errors[:5], expected, rtol=1e-6)


def test_the_choice_takes_the_features_that_matter(design: np.ndarray) -> None:
    rng = np.random.default_rng(3)
    candidates = np.column_stack([rng.uniform(0, 1, 60), design, rng.uniform(0, 1, 60)])
    assert choose_features(candidates, design @ TRUE, [index % 6 for index in range(60)]) == [1, 2, 3]


def test_choosing_among_noise_flatters_and_the_nested_error_shows_it() -> None:
    rng = np.random.default_rng(4)
    candidates, latencies = rng.uniform(0, 1, (16, 8)), rng.uniform(1, 3, 16)
    groups = [index % 4 for index in range(16)]
    chosen = choose_features(candidates, latencies, groups)
    flattered = np.abs(cross_validate(candidates[:, chosen], latencies, groups)).mean()
    assert np.abs(nested_cross_validate(candidates, latencies, groups)).mean() > flattered + 0.01
