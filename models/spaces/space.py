"""What every search space is."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, ClassVar, Protocol, Self

import numpy as np

from ..blocks import Cost

if TYPE_CHECKING:
    from ..architecture import Architecture
    from ..supernet import AnySupernet


class Space(Protocol):
    """What sampling, scoring and ranking need to know of a space, be it mobile or a benchmark's.

    Attributes:
        layers: its places, where one choice is made in each.
        choices: the names of what can be chosen. Layer l takes the first `genes[l]` of them.
        genes: number of choices of each layer.
        size: number of architectures.
        is_deployable: whether its networks are trained alone, varied, exported and timed.
        has_aligned_init: whether its supernet can start with all choices of a layer as the same function.
        can_be_shortened: whether there are variants of it that repeat their cells less often.
    """

    is_deployable: ClassVar[bool]
    has_aligned_init: ClassVar[bool]
    can_be_shortened: ClassVar[bool]

    @property
    def name(self) -> str: ...  # noqa: D102
    @property
    def description(self) -> str: ...  # noqa: D102
    @property
    def layers(self) -> Sequence[Any]: ...  # noqa: D102
    @property
    def choices(self) -> Sequence[Any]: ...  # noqa: D102
    @property
    def genes(self) -> tuple[int, ...]: ...  # noqa: D102
    @property
    def size(self) -> int: ...  # noqa: D102
    def scaled(self, width: float) -> Self: ...  # noqa: D102
    def architecture(self, choices: Sequence[int]) -> Architecture: ...  # noqa: D102
    def uniform(self, choice: int | str) -> Architecture: ...  # noqa: D102
    def sample(self, rng: np.random.Generator) -> Architecture: ...  # noqa: D102
    def cost(self, architecture: Architecture, resolution: int = ..., num_classes: int = ...) -> Cost: ...  # noqa: D102

    def check_resolution(self, resolution: int) -> None:
        """Refuse images that its networks cannot take.

        Raises:
            ValueError: they have too few pixels.
        """
        ...

    def shortened(self, cells: int) -> Self:
        """The same space with fewer cells per stage: a supernet of such networks trains faster.

        Raises:
            ValueError: it has no such variants.
        """
        ...

    def is_connected(self, architecture: Architecture) -> bool:
        """Whether anything of a network's input reaches its output."""
        ...

    def from_table(self, text: str) -> Architecture:
        """The architecture that a table of accuracies names in its column `arch`.

        Raises:
            ValueError: the text names none.
        """
        ...

    def supernet(self, num_classes: int) -> AnySupernet:
        """An untrained supernet, for images of three channels."""
        ...
