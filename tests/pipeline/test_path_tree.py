"""The walk along a tree of routes: every step once, each from the result of the one before it."""

from __future__ import annotations

from fairnas.pipeline.supernet.path_tree import Route, depth_first
from hypothesis import given
from hypothesis import strategies as st

ROUTES = st.integers(1, 5).flatmap(lambda length: st.lists(st.tuples(*[st.integers(0, 2)] * length), max_size=30))


@given(ROUTES)
def test_every_distinct_beginning_is_computed_once_from_the_one_before_it(routes: list[Route]) -> None:
    computed: list[Route] = []

    def step(result: Route, prefix: Route) -> Route:
        assert result == prefix[:-1]
        computed.append(prefix)
        return prefix

    assert list(depth_first(routes, (), step)) == [(route, route) for route in sorted(set(routes))]
    assert sorted(computed) == sorted({route[: depth + 1] for route in routes for depth in range(len(route))})


def test_results_off_the_current_route_are_let_go() -> None:
    """All 81 routes of four steps: held are the start, the results along one route, and the leaf that was seen last."""
    held = most = 0

    class Result:
        def __init__(self) -> None:
            nonlocal held, most
            held += 1
            most = max(most, held)

        def __del__(self) -> None:
            nonlocal held
            held -= 1

    routes = [(a, b, c, d) for a in range(3) for b in range(3) for c in range(3) for d in range(3)]
    for _ in depth_first(routes, Result(), lambda *_: Result()):
        pass
    assert most == 1 + 4 + 1
