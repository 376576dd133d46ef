"""What every supernet is: every choice block of every layer, sharing one stem and one head."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator, Sequence
from typing import TYPE_CHECKING, cast

import torch
from torch import Tensor, nn

if TYPE_CHECKING:
    from .spaces.space import Space

# One choice index per layer. A set of indices takes the mean of their outputs: One-Shot trains all paths at once.
Path = Sequence[int | Sequence[int]]


class AnySupernet(nn.Module, ABC):
    """The supernet of any space.

    Args:
        space: the space that its paths are in.
        num_classes: number of classes.
    """

    def __init__(self, space: Space, num_classes: int) -> None:
        super().__init__()
        self.space, self.num_classes = space, num_classes

    @abstractmethod
    def forward(self, images: Tensor, path: Path) -> Tensor:
        """Logits `[B, num_classes]` of one path for images `[B, C, H, W]`."""

    @abstractmethod
    def shared_parameters(self) -> Iterator[nn.Parameter]:
        """Parameters that every path uses."""

    @abstractmethod
    def candidates(self, images: Tensor, path: Sequence[int]) -> Iterator[Tensor]:
        """What each place's candidates make of the same input, `[m, B, C, H, W]`, where a path brought the images."""

    @property
    @abstractmethod
    def places(self) -> tuple[str, list[str]]:
        """What a place is where `candidates` looks, and what each of them is called."""


def build_supernet(space: Space, num_classes: int) -> AnySupernet:
    """An untrained supernet."""
    return space.supernet(num_classes)


class LayeredSupernet(AnySupernet):
    """A stem, layers of choice blocks one after the other, and a head.

    Args:
        space: the space that its paths are in.
        num_classes: number of classes.
        stem: what all paths begin with.
        layers: the candidates of every layer.
        head: what all paths end with.
    """

    def __init__(
        self,
        space: Space,
        num_classes: int,
        stem: nn.Module,
        layers: Iterable[Iterable[nn.Module]],
        head: nn.Module,
    ) -> None:
        super().__init__(space, num_classes)
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

    def candidates(self, images: Tensor, path: Sequence[int]) -> Iterator[Tensor]:
        """What each layer's candidates make of the same input, `[m, B, C, H, W]`, where a path brought the images."""
        features = self.stem(images)
        for candidates, choice in zip(self.layers, path, strict=True):
            outputs = outputs_of(cast(nn.ModuleList, candidates), features)
            yield outputs
            features = outputs[choice]

    @property
    def places(self) -> tuple[str, list[str]]:
        """Layers, by their numbers."""
        return "layer", [str(number + 1) for number in range(len(self.layers))]


def mean_of(candidates: nn.ModuleList, choice: int | Sequence[int], features: Tensor) -> Tensor:
    """The output of one candidate, or the mean over several."""
    if isinstance(choice, int):
        return candidates[choice](features)
    outputs = [candidates[index](features) for index in choice]
    return torch.stack(outputs).mean(0)


def outputs_of(candidates: nn.ModuleList, features: Tensor) -> Tensor:
    """The outputs of all candidates, `[m, B, C, H, W]`."""
    return torch.stack([candidate(features) for candidate in candidates])
