"""The samplings by name: each is a module with a `make`, and a line here."""
# ruff: noqa: F401, I001  (these imports are a list, in the order in which people see it)

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

from ....common.registry import Registry

if TYPE_CHECKING:
    from ....models import Space
    from ..settings import SupernetConfig
    from .interface import Sampling

    from .strict import make as strict
    from .expectation import make as expectation
    from .expectation import make_scaled as expectation_scaled
    from .spos import make as spos
    from .one_shot import make as one_shot
    from .proportional import make as proportional
    from .independent import make as independent


class Make(Protocol):
    """Makes a sampling of a kind."""

    def __call__(
        self, settings: SupernetConfig, space: Space, num_classes: int, seed: int, backward_passes: int
    ) -> Sampling:
        """A fresh one; the arguments are those of `make_sampling`."""
        ...


SAMPLINGS: Registry[Make] = Registry(__package__, __file__)


def make_sampling(
    settings: SupernetConfig, space: Space, num_classes: int, seed: int, backward_passes: int
) -> Sampling:
    """The sampling that a configuration names.

    Args:
        settings: `sampling` and its options.
        space: at the width that is trained.
        num_classes: number of classes.
        seed: of the sampling's generator.
        backward_passes: budget of the whole training.
    """
    return SAMPLINGS[settings.sampling](settings, space, num_classes, seed, backward_passes)
