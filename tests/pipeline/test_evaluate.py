"""Scoring paths: the supernet stays as it is, and a score depends on nothing but the path."""

from __future__ import annotations

import copy

import pytest
import torch
from fairnas.models import Architecture, Supernet, get_space
from fairnas.pipeline.config import Config, load_config
from fairnas.pipeline.data import Dataset, load_dataset
from fairnas.pipeline.evaluate import PathScorer


@pytest.fixture(scope="module")
def digits() -> Dataset:
    return load_dataset("digits", heldout=0.2, seed=0)


@pytest.fixture(scope="module")
def supernet() -> Supernet:
    """Untrained, but with running statistics that have seen something else than the digits."""
    torch.manual_seed(0)
    supernet = Supernet(get_space("b").scaled(0.25), num_classes=10).train()
    with torch.no_grad():
        for choice in range(6):
            supernet(torch.randn(16, 3, 32, 32) * 3 + 1, supernet.space.uniform(choice).choices)
    return supernet


def config(bn: str) -> Config:
    return load_config("tiny", [f"scoring.bn={bn}"])


def paths() -> list[Architecture]:
    space = get_space("b")
    return [space.uniform("E3K3"), space.uniform("E6K7")]


@pytest.mark.parametrize("bn", ["none", "recalibrate", "batch"])
def test_scoring_leaves_the_supernet_alone(bn: str, supernet: Supernet, digits: Dataset) -> None:
    before = copy.deepcopy(supernet.state_dict())
    PathScorer(supernet, digits, config(bn)).score(paths()[0])
    assert all(torch.equal(before[name], tensor) for name, tensor in supernet.state_dict().items())


@pytest.mark.parametrize("bn", ["none", "recalibrate", "batch"])
def test_a_score_does_not_depend_on_what_was_scored_before(bn: str, supernet: Supernet, digits: Dataset) -> None:
    first, second = paths()
    scorer = PathScorer(supernet, digits, config(bn))
    expected = scorer.score(first)
    scorer.score(second)
    assert scorer.score(first) == expected
    assert PathScorer(supernet, digits, config(bn)).score(first) == expected


def test_recalibrated_statistics_are_those_of_training_images(supernet: Supernet, digits: Dataset) -> None:
    """The first normalisation sees the calibration images' stem features, and nothing of its earlier statistics."""
    scorer = PathScorer(supernet, digits, config("recalibrate"))
    scorer.score(paths()[0])
    images = torch.cat(scorer._calibration)
    with torch.no_grad():
        features = supernet.stem[0](images)
    norm = scorer._supernet.get_submodule("stem.1")
    torch.testing.assert_close(norm.get_buffer("running_mean"), features.mean((0, 2, 3)), rtol=1e-3, atol=1e-4)
    assert not torch.allclose(
        norm.get_buffer("running_mean"), supernet.get_submodule("stem.1").get_buffer("running_mean"), atol=1e-2
    )
