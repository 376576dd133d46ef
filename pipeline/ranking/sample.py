"""Which architectures a ranking is judged on: the wider they are spread, the easier it is to rank them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from ...models import Architecture, Space, Task
from ..errors import UserError
from .settings import RankConfig

POOL = 2000
"""Random architectures that a space without a table is represented by."""


def random_pool(space: Space, seed: int) -> list[Architecture]:
    """Different architectures, uniformly at random: `POOL` of them, or as many as a small space has."""
    rng = np.random.default_rng(seed)
    pool: dict[Architecture, None] = {}
    while len(pool) < min(POOL, space.size // 2):
        pool[space.sample(rng)] = None
    return list(pool)


def choose(
    candidates: Sequence[Architecture],
    count: int,
    settings: RankConfig,
    space: Space,
    task: Task,
    truth: Mapping[Architecture, float] | None = None,
) -> list[Architecture]:
    """Some of the candidates, by `settings.spacing`, `spaced_by` and `seed`.

    `random` takes any. `quantiles` sorts by a quantity and takes every k-th: a random sample's spread, evenly filled.
    `even` takes the one nearest to each of evenly spaced values between the smallest and the largest, as a choice along
    a Pareto front would: wider spread than a random sample, and so a higher tau.

    Raises:
        UserError: it is spaced by the truth, and that is not known beforehand.
    """
    if count >= len(candidates):
        return list(candidates)
    rng = np.random.default_rng(settings.seed)
    shuffled = [candidates[index] for index in rng.permutation(len(candidates))]  # among equals, any may be chosen
    if settings.spacing == "random":
        return shuffled[:count]
    if settings.spaced_by == "truth":
        if truth is None:
            raise UserError("rank.spaced_by=truth needs a table of the truth: add --truth FILE, or take madds")
        values = np.array([truth[architecture] for architecture in shuffled])
    else:
        costs = [space.cost(architecture, *task) for architecture in shuffled]
        values = np.array([float(getattr(cost, settings.spaced_by)) for cost in costs])
    order = np.argsort(values, kind="stable")
    if settings.spacing == "quantiles":
        places = np.linspace(0, len(order) - 1, count).round().astype(int)
        return [shuffled[index] for index in order[places]]
    chosen: list[int] = []
    free = np.ones(len(values), dtype=bool)
    for target in np.linspace(values.min(), values.max(), count):
        nearest = int(np.where(free, np.abs(values - target), np.inf).argmin())
        free[nearest] = False
        chosen.append(nearest)
    return [shuffled[index] for index in chosen]
