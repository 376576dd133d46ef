"""Folding: the same answers without batch norms, and only where nothing else needs the layer as it was."""

from __future__ import annotations

import fairnas.models  # noqa: F401  (registers the networks)
import pytest
import timm
import torch
from fairnas.models.folding import folded, load_folded
from timm.layers import StdConv2d
from torch import nn

NAMES = ["fairnas_c", "fairnas_c_se", "fairnas_c_se_hswish", "mobilenetv2_050", "tf_mobilenetv3_small_minimal_100"]


def lived_in(network: nn.Module, images: torch.Tensor) -> nn.Module:
    """With batch-norm statistics, scales and shifts that are not those of a new network."""
    generator = torch.Generator().manual_seed(0)
    for module in network.modules():
        if isinstance(module, nn.modules.batchnorm._BatchNorm):
            module.momentum = None
            module.weight.data.uniform_(0.5, 1.5, generator=generator)
            module.bias.data.uniform_(-0.2, 0.2, generator=generator)
    with torch.no_grad():
        network.train()(images)
    return network.eval()


@pytest.mark.parametrize("name", NAMES)
def test_a_folded_network_answers_the_same(name: str) -> None:
    torch.manual_seed(0)
    images = torch.randn(16, 3, 64, 64)
    network = lived_in(timm.create_model(name, num_classes=7), images)
    before = {key: value.clone() for key, value in network.state_dict().items()}
    short = folded(network)
    with torch.inference_mode():
        expected, answered = network(images), short(images)
    assert (expected - answered).abs().max() < 1e-4 * expected.abs().max()
    assert not any(isinstance(module, nn.modules.batchnorm._BatchNorm) for module in short.modules())
    assert all(weight.requires_grad for weight in short.parameters())
    assert all(torch.equal(before[key], value) for key, value in network.state_dict().items())

    again = load_folded(timm.create_model(name, num_classes=7), short.state_dict())
    with torch.inference_mode():
        assert torch.equal(again(images), answered)


def test_weights_of_an_unfolded_network_are_refused() -> None:
    network = timm.create_model("fairnas_c", num_classes=7)
    with pytest.raises(ValueError, match="not the weights of this network, folded"):
        load_folded(network, network.state_dict())


class Branches(nn.Module):
    """The convolution is needed with and without its batch norm."""

    def __init__(self) -> None:
        super().__init__()
        self.conv, self.norm = nn.Conv2d(3, 4, 1), nn.BatchNorm2d(4)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """Images `[B, 3, H, W]` to `[B, 4]`."""
        maps = self.conv(images)
        return (self.norm(maps) + maps).mean((2, 3))


class Twice(nn.Module):
    """One convolution before two batch norms."""

    def __init__(self) -> None:
        super().__init__()
        self.conv, self.first, self.second = nn.Conv2d(3, 3, 1), nn.BatchNorm2d(3), nn.BatchNorm2d(3)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """Images `[B, 3, H, W]` to `[B, 3]`."""
        return self.second(self.conv(self.first(self.conv(images)))).mean((2, 3))


@pytest.mark.parametrize(
    ("network", "norms"),
    [
        (Branches(), 1),
        (Twice(), 2),
        (nn.Sequential(nn.ReLU(), nn.BatchNorm2d(3), nn.Flatten()), 1),
        (nn.Sequential(StdConv2d(3, 4, 1), nn.BatchNorm2d(4), nn.Flatten()), 1),  # it would take the scale out again
        (nn.Sequential(nn.Conv2d(3, 4, 1), nn.BatchNorm2d(4, track_running_stats=False), nn.Flatten()), 1),
        (nn.Sequential(nn.Flatten(), nn.Linear(48, 5), nn.BatchNorm1d(5)), 0),
    ],
)
def test_what_folds_and_what_stays(network: nn.Module, norms: int) -> None:
    torch.manual_seed(0)
    images = torch.randn(16, 3, 4, 4) + 1
    network = lived_in(network, images)
    short = folded(network)
    assert sum(isinstance(module, nn.modules.batchnorm._BatchNorm) for module in short.modules()) == norms
    torch.testing.assert_close(short(images), network(images), atol=1e-5, rtol=1e-5)


def test_a_network_that_looks_at_its_input_cannot_be_followed() -> None:
    class Fickle(nn.Module):
        def forward(self, images: torch.Tensor) -> torch.Tensor:
            return images if images.sum() > 0 else -images

    with pytest.raises(ValueError, match="cannot follow what Fickle computes"):
        folded(Fickle())
