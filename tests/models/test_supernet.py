"""The supernet: a path is the stand-alone network of the same architecture, weight for weight."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from fairnas.models import SearchSpace, Supernet, build_network, get_space, list_spaces
from torch import nn


@pytest.fixture(scope="module", params=list_spaces())
def supernet(request: pytest.FixtureRequest) -> Supernet:
    return uneven_supernet(request.param)


def uneven_supernet(space: str) -> Supernet:
    """At a quarter of the width, with batch-norm statistics and affine weights that differ everywhere."""
    torch.manual_seed(0)
    supernet = Supernet(get_space(space).scaled(0.25), num_classes=10)
    for module in supernet.modules():
        if isinstance(module, nn.BatchNorm2d):
            assert module.running_mean is not None
            assert module.running_var is not None
            module.running_mean.normal_(0, 0.1)
            module.running_var.uniform_(0.5, 1.5)
            nn.init.uniform_(module.weight, 0.5, 1.5)
            nn.init.normal_(module.bias, 0, 0.1)
    return supernet.eval()


def test_a_path_equals_the_stand_alone_network(supernet: Supernet) -> None:
    images, rng = torch.randn(4, 3, 32, 32), np.random.default_rng(0)
    for _ in range(4):
        architecture = supernet.space.sample(rng)
        network = build_network(architecture, width=0.25, num_classes=10).eval()
        network.load_state_dict(supernet.path_state_dict(architecture), strict=True)
        with torch.inference_mode():
            expected = supernet(images, architecture.choices)
            assert torch.equal(network(images), expected)
            assert torch.equal(supernet.standalone(architecture).eval()(images), expected)
        assert expected.std() > 0


def test_paths_differ_in_one_layer_only_where_their_choices_do(supernet: Supernet) -> None:
    space = supernet.space
    first = space.uniform(0)
    second = space.architecture([0] * (len(space.layers) - 1) + [len(space.choices) - 1])
    one, other = supernet.path_state_dict(first), supernet.path_state_dict(second)
    stage, place = max((int(key.split(".")[1]), int(key.split(".")[2])) for key in one if key.startswith("blocks."))
    for key in one:
        shared = not key.startswith(f"blocks.{stage}.{place}.")
        assert (one[key].data_ptr() == other[key].data_ptr()) == shared, key


def test_a_supernet_holds_every_choice_once_and_the_fixed_parts_once(supernet: Supernet) -> None:
    space = supernet.space
    blocks = [space.blocks(space.uniform(index), 32, 10) for index in range(len(space.choices))]
    fixed = sum(block.cost.params for block in (*blocks[0][:2], *blocks[0][-2:]))
    choices = sum(network[2 + layer].cost.params for network in blocks for layer in range(len(space.layers)))
    assert sum(parameter.numel() for parameter in supernet.parameters()) == fixed + choices
    assert sum(parameter.numel() for parameter in supernet.shared_parameters()) == fixed
    assert len({id(module) for layer in supernet.layers for module in layer.children()}) == sum(space.genes)


@pytest.mark.parametrize(("name", "millions"), [("a", 10.44), ("b", 15.99)])
def test_published_supernet_sizes(name: str, millions: float) -> None:
    with torch.device("meta"):
        supernet = Supernet(get_space(name), num_classes=1000)
    assert round(sum(parameter.numel() for parameter in supernet.parameters()) / 1e6, 2) == millions


def test_a_path_with_squeeze_and_excitation_is_refused(supernet: Supernet) -> None:
    architecture = supernet.space.uniform(0).with_se(0.5)
    with pytest.raises(ValueError, match="has squeeze-and-excitation: the supernet has no weights for it"):
        supernet.path_state_dict(architecture)
    with pytest.raises(ValueError, match="has squeeze-and-excitation"):
        supernet.standalone(architecture)


def test_a_path_of_the_wrong_length_is_refused(supernet: Supernet) -> None:
    with pytest.raises(ValueError, match="zip"):
        supernet(torch.zeros(2, 3, 32, 32), [0] * (len(supernet.space.layers) - 1))


def test_one_path_leaves_the_other_choices_without_gradients() -> None:
    space: SearchSpace = get_space("a").scaled(0.25)
    supernet = Supernet(space, num_classes=4)
    path = [layer % 6 for layer in range(16)]
    supernet(torch.randn(4, 3, 32, 32), path).square().sum().backward()
    for layer, candidates in enumerate(supernet.layers):
        for choice, block in enumerate(candidates.children()):
            present = {parameter.grad is not None for parameter in block.parameters()}
            assert present == {choice == path[layer]}, (layer, choice)
    assert all(parameter.grad is not None for parameter in supernet.shared_parameters())
