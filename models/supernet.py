"""The supernet: every choice block of every layer, sharing one stem and one head."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from itertools import groupby
from typing import cast

import torch
from torch import Tensor, nn

from .networks import Network, build_network
from .search_space import Architecture, SearchSpace

# What all paths share, by its name in a stand-alone network.
_STEM = ("conv_stem", "bn1", "blocks.0.0")
_HEAD = ("conv_head", "bn2", "global_pool", "classifier")


# One choice index per layer. A set of indices takes the mean of their outputs: One-Shot trains all paths at once.
Path = Sequence[int | Sequence[int]]


class LayeredSupernet(nn.Module):
    """A stem, layers of choice blocks one after the other, and a head.

    Args:
        stem: what all paths begin with.
        layers: the candidates of every layer.
        head: what all paths end with.
    """

    def __init__(self, stem: nn.Module, layers: Iterable[Iterable[nn.Module]], head: nn.Module) -> None:
        super().__init__()
        self.stem = stem
        self.layers = nn.ModuleList(nn.ModuleList(candidates) for candidates in layers)
        self.head = head

    def forward(self, images: Tensor, path: Path) -> Tensor:
        """Logits `[B, num_classes]` of one path for images `[B, C, H, W]`."""
        features = self.stem(images)
        for candidates, choice in zip(self.layers, path, strict=True):
            features = mean_of(cast(nn.ModuleList, candidates), choice, features)
        return self.head(features)

    def shared_parameters(self) -> Iterator[nn.Parameter]:
        """Parameters that every path uses: the stem's and the head's."""
        yield from self.stem.parameters()
        yield from self.head.parameters()


def mean_of(candidates: nn.ModuleList, choice: int | Sequence[int], features: Tensor) -> Tensor:
    """The output of one candidate, or the mean over several."""
    if isinstance(choice, int):
        return candidates[choice](features)
    outputs = [candidates[index](features) for index in choice]
    return torch.stack(outputs).mean(0)


class Supernet(LayeredSupernet):
    """All candidates of a mobile space, trained one path at a time.

    It is made of one stand-alone network per choice: network c takes choice c in every layer. Their blocks are the
    choice blocks; the stem, the separable block, the head and the classifier of the first serve all paths. So a path
    is, layer by layer, the network that `build_network` makes of the same architecture.

    Args:
        space: the search space; its `width` scales every channel count.
        num_classes: number of classes.
        in_chans: channels of the images.
    """

    def __init__(self, space: SearchSpace, num_classes: int, in_chans: int = 3) -> None:
        uniform = [
            build_network(space.uniform(index), width=space.width, num_classes=num_classes, in_chans=in_chans)
            for index in range(len(space.choices))
        ]
        shared = dict(uniform[0].named_modules())
        super().__init__(
            nn.Sequential(*(shared[name] for name in _STEM)),
            zip(*(_searchable(space, network) for network in uniform), strict=True),
            nn.Sequential(*(shared[name] for name in _HEAD)),
        )
        self.space = space
        self.num_classes = num_classes
        self.in_chans = in_chans

    def path_state_dict(self, architecture: Architecture) -> dict[str, Tensor]:
        """The weights of one path, named as in the stand-alone network of the same architecture.

        Raises:
            ValueError: the architecture has squeeze-and-excitation, for which a supernet has no weights.
        """
        if architecture.se_ratio:
            raise ValueError(f"{architecture} has squeeze-and-excitation: the supernet has no weights for it")
        stem, head = cast(nn.Sequential, self.stem), cast(nn.Sequential, self.head)
        modules = [*zip(_STEM, stem, strict=True), *zip(_HEAD, head, strict=True)]
        for name, candidates, choice in zip(_layer_names(self.space), self.layers, architecture.choices, strict=True):
            modules.append((name, cast(nn.ModuleList, candidates)[choice]))
        return {f"{name}.{key}": value for name, module in modules for key, value in module.state_dict().items()}

    def standalone(self, architecture: Architecture) -> Network:
        """The stand-alone network of one path, with this supernet's weights."""
        network = build_network(
            architecture, width=self.space.width, num_classes=self.num_classes, in_chans=self.in_chans
        )
        network.load_state_dict(self.path_state_dict(architecture))
        return network


def _layer_names(space: SearchSpace) -> list[str]:
    """What the searchable blocks are called in a stand-alone network: `blocks.<stage>.<place in it>`."""
    stages = groupby(layer.stage for layer in space.layers)
    return [f"blocks.{stage}.{place}" for stage, members in stages for place, _ in enumerate(members)]


def _searchable(space: SearchSpace, network: nn.Module) -> list[nn.Module]:
    return [network.get_submodule(name) for name in _layer_names(space)]
