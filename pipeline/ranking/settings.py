"""Settings of the ranking's certificate."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from ...common.kinds import Number, Whole
from ...common.settings import Section


class RankConfig(Section):
    """How the supernet's ranking is certified, and what is measured of its choice blocks."""

    architectures: Whole | None = Field(
        default=1000, ge=2, le=10_000_000, description="how many of a table of the truth are scored; empty means all"
    )
    networks: Whole = Field(
        default=12, ge=2, le=10_000, description="how many are trained stand-alone where there is no table"
    )
    spacing: Literal["random", "quantiles", "even"] = Field(
        default="quantiles",
        description="which: any; every k-th in the order of a quantity; or evenly spaced values of it, which flatters",
    )
    spaced_by: Literal["madds", "params", "truth"] = "madds"
    seed: Whole = Field(
        default=0,
        ge=0,
        description="of that choice: apart from the run's, to compare runs on the same",
    )
    resamples: Whole = Field(default=1000, ge=100, le=1_000_000, description="of the bootstrap")
    confidence: Number = Field(default=0.95, gt=0, lt=1)
    bn_architectures: Whole = Field(
        default=100,
        ge=0,
        le=1_000_000,
        description="scored in every batch-norm mode, to compare the modes; 0 leaves that out",
    )
    similarity_images: Whole = Field(
        default=32, ge=2, le=100_000, description="on which the blocks of a layer are compared"
    )
    similarity_paths: Whole = Field(
        default=4, ge=1, le=1_000_000, description="random paths that lead these images to a layer"
    )
