"""The supernet of a mobile space."""

from __future__ import annotations

from itertools import groupby
from typing import TYPE_CHECKING, cast

from torch import Tensor, nn

from ...architecture import Architecture
from ...supernet import LayeredSupernet
from .networks import Network, build_network

if TYPE_CHECKING:
    from .space import SearchSpace

# What all paths share, by its name in a stand-alone network.
_STEM = ("conv_stem", "bn1", "blocks.0.0")
_HEAD = ("conv_head", "bn2", "global_pool", "classifier")


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

    space: SearchSpace  # pyright: ignore[reportIncompatibleVariableOverride]

    def __init__(self, space: SearchSpace, num_classes: int, in_chans: int = 3) -> None:
        uniform = [
            build_network(space.uniform(index), width=space.width, num_classes=num_classes, in_chans=in_chans)
            for index in range(len(space.choices))
        ]
        shared = dict(uniform[0].named_modules())
        super().__init__(
            space,
            num_classes,
            nn.Sequential(*(shared[name] for name in _STEM)),
            zip(*(_searchable(space, network) for network in uniform), strict=True),
            nn.Sequential(*(shared[name] for name in _HEAD)),
        )
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
