"""Which paths each update of a supernet trains: strict fairness and what it is compared with."""

from __future__ import annotations

from ....models import Space
from ..settings import SupernetConfig
from .interface import Sampling
from .ledger import FairnessLedger
from .one_shot import OneShotSampling
from .proportional import ProportionalSampling
from .strict import StrictFairSampling
from .uniform import ExpectationFairSampling, IndependentPathsSampling, SinglePathSampling

__all__ = ["FairnessLedger", "Sampling", "StrictFairSampling", "make_sampling"]


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
    size = len(space.layers), len(space.choices)
    match settings.sampling:
        case "strict":
            return StrictFairSampling(*size, seed)
        case "independent":
            return IndependentPathsSampling(*size, seed)
        case "expectation" | "expectation-scaled":
            return ExpectationFairSampling(
                *size, seed, settings.expectation_passes, scaled=settings.sampling == "expectation-scaled"
            )
        case "spos":
            return SinglePathSampling(*size, seed)
        case "one-shot":
            return OneShotSampling(*size, seed, settings.path_dropout, backward_passes)
        case "proportional":
            return ProportionalSampling(space, seed, settings.proportional_pool, num_classes)
