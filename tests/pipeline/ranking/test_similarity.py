"""Similarity of choice blocks: its identities, and that it reads every kind of supernet without changing it."""

from __future__ import annotations

import copy
import json
from pathlib import Path

import numpy as np
import pytest
import torch
from fairnas.models import Supernet, align_choices, any_space, build_supernet, get_space
from fairnas.pipeline.data import Dataset, load_dataset
from fairnas.pipeline.runs.run import Workspace
from fairnas.pipeline.supernet.similarity import compare_blocks, cosine_similarity
from PIL import Image


@pytest.fixture(scope="module")
def digits() -> Dataset:
    return load_dataset("digits", heldout=0.2, seed=0)


def test_similarity_is_of_directions_channel_by_channel() -> None:
    torch.manual_seed(0)
    first = torch.randn(3, 4, 5, 5)
    scales = torch.tensor([1.0, 2.0, 7.0, 0.1]).view(1, 4, 1, 1)
    half_turned = first * torch.tensor([1.0, 1.0, -1.0, -1.0]).view(1, 4, 1, 1)
    found = cosine_similarity(torch.stack([first, first * scales, -first, half_turned, torch.zeros_like(first)]))
    torch.testing.assert_close(found[0, :4], torch.tensor([1.0, 1.0, -1.0, 0.0]).double(), atol=1e-7, rtol=0)
    assert found[4].isnan().all()
    torch.testing.assert_close(found, found.T, equal_nan=True)


@pytest.mark.parametrize("space", ["b", "macro", "nasbench201"])
def test_every_supernet_is_compared_layer_by_layer_and_left_alone(space: str, digits: Dataset, tmp_path: Path) -> None:
    torch.manual_seed(0)
    supernet = build_supernet(any_space(space).scaled(0.25), 10)
    before = copy.deepcopy(supernet.state_dict())
    compare_blocks(supernet, digits.heldout, 8, 32, 4, 0, Workspace(tmp_path))
    assert all(torch.equal(before[name], tensor) for name, tensor in supernet.state_dict().items())
    content = json.loads((tmp_path / "similarity.json").read_text())
    layers = np.array(content["layers"], dtype=float)
    choices = len(supernet.space.choices)
    assert layers.shape == (len(supernet.space.layers), choices, choices)
    assert len(content["names"]) == len(layers)
    none = [choice == "none" for choice in content["choices"]]
    diagonal = layers[:, ~np.array(none), ~np.array(none)]
    np.testing.assert_allclose(diagonal, 1, atol=1e-4)
    assert np.isnan(layers[:, none]).all()
    rows, columns = Image.open(tmp_path / "feature_maps.png").size[::-1]
    assert rows == choices * 50 - 2
    assert columns in (4 * 50 - 2, 8 * 50 - 2)


def test_aligned_blocks_start_alike_and_independent_ones_do_not(digits: Dataset, tmp_path: Path) -> None:
    means = []
    for aligned in (True, False):
        torch.manual_seed(0)
        supernet = Supernet(get_space("b").scaled(0.25), 10)
        if aligned:
            align_choices(supernet)
        compare_blocks(supernet, digits.heldout, 8, 32, 2, 0, Workspace(tmp_path))
        first = np.array(json.loads((tmp_path / "similarity.json").read_text())["layers"][0])
        means.append(first[~np.eye(6, dtype=bool)].mean())
    assert means[0] > 0.99
    assert abs(means[1]) < 0.5
