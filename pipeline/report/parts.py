"""What each section of the page shows."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from . import figures
from .latency import Comparison
from .limits import Kept
from .run_files import Scored


@dataclass(frozen=True, slots=True)
class Headline:
    """What one has to know first."""

    target: str
    preset: str
    dataset: str
    demonstration: bool
    fitted: bool
    extrapolated: bool
    distrust: str
    best_top1: float | None
    best_name: str
    fastest_ms: float | None
    fastest_name: str
    kept: int
    judged: int
    how_kept: str
    seconds: float | None


@dataclass(frozen=True, slots=True)
class Pick:
    """One pick: whether it keeps every limit (None where there is no limit to keep), and what the device said.

    Attributes:
        values: by quantity, as predicted.
        interval: the ms between which 90% of such predictions end; None where the table says nothing.
        measured_ms: on the target's device; None where it was not there.
        int8_interval: of the prediction in 8 bits, likewise.
        measured_int8_ms: likewise.
    """

    name: str
    architecture: str
    values: dict[str, float | None]
    kept: Kept | None
    extrapolated: bool
    interval: tuple[float, float] | None
    measured_ms: float | None
    int8_interval: tuple[float, float] | None
    measured_int8_ms: float | None


@dataclass(frozen=True, slots=True)
class FormatRow:
    """One format of an exported network, with the colour and the words for what became of it."""

    record: dict[str, Any]
    colour: str
    state: str
    accuracy: dict[str, Any]
    parity: dict[str, Any]
    files: list[dict[str, Any]]


@dataclass(frozen=True, slots=True)
class Export:
    """One exported network: its passport, the latency predicted for the target, and whether the limits are kept.

    Attributes:
        name: the network's.
        passport: as its file holds it.
        formats: what it says of each.
        format: name of the one that `accuracy` and `measured` are of.
    """

    name: str
    passport: dict[str, Any]
    formats: list[FormatRow]
    format: str
    accuracy: dict[str, Any]
    predicted: dict[str, Any] | None
    interval: tuple[float, float] | None
    measured: list[dict[str, Any]]
    kept: Kept | None


@dataclass(slots=True)
class Latency:
    """The latency model of the run, and how its predictions compare with measurements."""

    comparisons: list[Comparison]
    plot: figures.Plot | None
    facts: list[tuple[str, str]]
    device: dict[str, Any]


@dataclass(slots=True)
class Training:
    """Curves of both trainings, and what the supernet reached."""

    supernet_plot: figures.Plot | None = None
    retrain_plot: figures.Plot | None = None
    oneshot: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Fairness:
    """The ledger in numbers."""

    blocks: int
    layers: int
    choices: int
    least: float
    most: float
    equal: bool
    always_equal: bool
    plot: figures.Plot

    @property
    def least_width(self) -> int:
        """Pixels that the plot's numbers need: a narrower page scrolls it."""
        digits = len(f"{self.most:,.0f}")
        return 120 + self.layers * (14 + 8 * digits)


@dataclass(frozen=True, slots=True)
class Search:
    """What the search was asked to keep, and how it went."""

    satisfiability: list[dict[str, Any]]
    plot: figures.Plot | None
    front: list[Scored]
    front_size: int
    scored: int
    generations: int | None


@dataclass(frozen=True, slots=True)
class Details:
    """How the run came about."""

    stages: list[tuple[str, dict[str, Any]]]
    facts: list[tuple[str, str]]
    versions: list[tuple[str, str]]
    machine: list[tuple[str, str]]
    lineage: list[tuple[str, dict[str, Any]]]
