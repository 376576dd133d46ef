"""Hypervolume of an archive as it grows."""

from __future__ import annotations

import numpy as np
import pytest
from fairnas.pipeline.search.hypervolume import archive_hypervolumes
from hypothesis import given
from hypothesis import strategies as st
from pymoo.indicators.hv import HV


def test_the_area_of_two_points() -> None:
    points = np.array([[0.0, 1.0], [1.0, 0.0], [0.5, 0.5], [2.0, 2.0]])
    found = archive_hypervolumes(points, [0, 1, 2, 3, 4], np.zeros(2), np.ones(2))
    ends = 1.1 * 0.1 + 0.1 * 1.1 - 0.1 * 0.1
    assert found == pytest.approx([0.0, 1.1 * 0.1, ends, ends + 0.5 * 0.5, ends + 0.5 * 0.5])


@given(st.integers(0, 1000), st.integers(2, 4))
def test_growing_step_by_step_equals_starting_anew(seed: int, objectives: int) -> None:
    rng = np.random.default_rng(seed)
    points = rng.integers(0, 6, size=(40, objectives)).astype(float)
    ends = sorted(rng.integers(0, 41, size=5).tolist())
    found = archive_hypervolumes(points, ends, np.ones(objectives), np.full(objectives, 4.0))
    scaled, indicator = (points - 1) / 3, HV(ref_point=np.full(objectives, 1.1))
    assert found == pytest.approx([float(indicator(scaled[:end]) or 0.0) if end else 0.0 for end in ends])
    assert found == sorted(found)


def test_an_objective_that_never_varies_does_no_harm() -> None:
    points = np.array([[0.2, 5.0], [0.1, 5.0]])
    assert archive_hypervolumes(points, [2], points.min(axis=0), points.max(axis=0)) == pytest.approx([1.1 * 1.1])
