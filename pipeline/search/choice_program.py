"""Integer programs over one choice per layer: the cheapest network, and whether one keeps all limits."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from scipy.optimize import Bounds, LinearConstraint, milp

from .costs import SpaceCosts

_TOLERANCE = 1e-6  # the solver's own


def solve(costs: SpaceCosts, limits: Mapping[str, float], minimise: str | None = None) -> list[int] | None:
    """A network that keeps all limits, the cheapest one where a quantity is to be minimised.

    Exact: a spread is a norm, and so the largest of all linear functions that touch it from below. Those that a
    solution breaks are added until none is broken (cutting planes), and no cut removes a network that keeps the limits.

    Args:
        costs: of the space.
        limits: upper limit by quantity.
        minimise: what to minimise; None takes any network.

    Returns:
        Choice indices, one per layer; None when no network keeps the limits.

    Raises:
        KeyError: a quantity that was not tabulated.
    """
    layers, choices = next(iter(costs.per_choice.values())).shape
    size, spreads = layers * choices, list(costs.spreads)
    variables = size + len(spreads)  # 0/1 per layer and choice, then the spread of each quantity that has one

    def row(quantity: str) -> np.ndarray:
        return np.concatenate([costs.per_choice[quantity].ravel(), [float(name == quantity) for name in spreads]])

    one_choice = np.zeros((layers, variables))
    one_choice[:, :size] = np.kron(np.eye(layers), np.ones(choices))
    rules = [
        LinearConstraint(one_choice, 1, 1),  # pyright: ignore[reportArgumentType]
        *(LinearConstraint(row(quantity), ub=limit - costs.fixed[quantity]) for quantity, limit in limits.items()),
    ]
    while True:
        outcome = milp(
            c=np.zeros(variables) if minimise is None else row(minimise),
            integrality=np.repeat([1, 0], [size, len(spreads)]),
            bounds=Bounds(0, np.repeat([1, np.inf], [size, len(spreads)])),  # pyright: ignore[reportArgumentType]
            constraints=rules,
            options={"mip_rel_gap": 0},
        )
        if outcome.status != 0:
            return None
        genome = outcome.x[:size].reshape(layers, choices).argmax(axis=1).tolist()
        cuts = []
        for index, name in enumerate(spreads):
            spread = costs.spreads[name]
            if spread.of(genome) > outcome.x[size + index] + _TOLERANCE:
                taken = np.zeros((layers, choices))
                taken[np.arange(layers), genome] = 1
                errors = spread.matrix @ taken.ravel() + spread.fixed
                slope = errors / np.linalg.norm(errors)
                coefficients = np.zeros(variables)
                coefficients[:size], coefficients[size + index] = slope @ spread.matrix, -1
                cuts.append(LinearConstraint(coefficients, ub=-float(slope @ spread.fixed)))
        if not cuts:
            return genome
        rules += cuts


def largest(costs: SpaceCosts, quantity: str) -> list[int]:
    """The network that has most of a quantity: where it has a spread, one that no single other choice makes larger."""
    genome = costs.per_choice[quantity].argmax(axis=1).tolist()
    if quantity not in costs.spreads:
        return genome
    layers, choices = costs.per_choice[quantity].shape
    while True:
        others = [
            [*genome[:layer], choice, *genome[layer + 1 :]] for layer in range(layers) for choice in range(choices)
        ]
        best = max(others, key=lambda other: costs.of(other)[quantity])
        if costs.of(best)[quantity] <= costs.of(genome)[quantity]:
            return genome
        genome = best
