"""Paths of a supernet as a tree: what several paths begin with is computed once."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import takewhile
from typing import Any, TypeVar, cast

from torch import Tensor, nn

from ...models import AnySupernet, LayeredSupernet

Route = tuple[Any, ...]
"""The parts that images pass, one after the other; the result after each depends on those up to it alone."""

Part = tuple[nn.Module, Callable[[Tensor], Tensor]]
"""One part of a route: the module that holds its weights and statistics, and what it does to a batch."""

T = TypeVar("T")


def route_of(supernet: AnySupernet, choices: Sequence[int]) -> Route:
    """The route of a path.

    In a layered supernet it is the stem, a choice block per layer and the head, so paths that begin with the same
    choices have the same beginning. In others, cells repeat the choices: nothing but a whole path has a result.
    """
    if isinstance(supernet, LayeredSupernet):
        return ("stem", *choices, "head")
    return (tuple(choices),)


def last_part(supernet: AnySupernet, prefix: Route) -> Part:
    """The part at the end of the beginning of a route."""
    if not isinstance(supernet, LayeredSupernet):
        return supernet, lambda images: supernet(images, prefix[-1])
    match prefix[-1]:
        case "stem":
            module = supernet.stem
        case "head":
            module = supernet.head
        case choice:
            module = cast(nn.ModuleList, supernet.layers[len(prefix) - 2])[choice]
    return module, module


def depth_first(routes: Iterable[Route], start: T, step: Callable[[T, Route], T]) -> Iterator[tuple[Route, T]]:
    """Walk the tree that routes form, taking every step once.

    Sorted, routes with a common beginning lie side by side; so the results along one route are all that is ever kept.

    Args:
        routes: of equal length, in any order; duplicates count once.
        start: what the first step starts from.
        step: the result of a part, from the result before it and the route up to and including it.

    Yields:
        Every distinct route in sorted order, with its last result.
    """
    results, previous = [start], ()
    for route in sorted(set(routes)):
        shared = sum(1 for _ in takewhile(lambda pair: pair[0] == pair[1], zip(previous, route, strict=False)))
        del results[shared + 1 :]
        for depth in range(shared, len(route)):
            results.append(step(results[-1], route[: depth + 1]))
        yield route, results[-1]
        previous = route
