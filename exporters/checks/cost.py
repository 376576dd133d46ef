"""Parameters and multiply-adds of our own networks follow from their architecture: a passport can be asked for them."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Protocol

from ...models import get_space
from ...models.network_names import parse_network
from ..passport.passport import PASSPORT
from .findings import Finding, failed, ok


class Priced(Protocol):
    """What a passport of any version says of a network."""

    @property
    def architecture(self) -> str: ...  # noqa: D102
    @property
    def width(self) -> float | None: ...  # noqa: D102
    @property
    def resolution(self) -> int: ...  # noqa: D102
    @property
    def num_classes(self) -> int: ...  # noqa: D102
    @property
    def params(self) -> int: ...  # noqa: D102
    @property
    def madds(self) -> int: ...  # noqa: D102


def check_cost(passport: Priced) -> Iterator[Finding]:
    """Whether parameters and multiply-adds are those of the architecture; nothing of networks that are not ours."""
    if passport.width is None:
        return
    try:
        architecture = parse_network(passport.architecture)
        space = get_space(architecture.space).scaled(passport.width)
        cost = space.cost(architecture, passport.resolution, passport.num_classes)
    except (ValueError, KeyError, OverflowError) as error:
        yield failed(PASSPORT, "cost", f"its architecture is none of ours: {str(error)[:200]}")
        return
    for what, stated, computed in (
        ("parameters", passport.params, cost.params),
        ("multiply-adds", passport.madds, cost.madds),
    ):
        if stated != computed:
            yield failed(PASSPORT, "cost", f"it says {stated:,} {what}, its architecture has {computed:,}")
            return
    yield ok(PASSPORT, "cost")
