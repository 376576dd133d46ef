"""From measured blocks to a latency table that says how wrong it is."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from ...latency_tables.block_features import FEATURES, block_sizes, shape, size_group
from ...latency_tables.table_parts import FittedModel
from .measurement import Measurement
from .regression import cross_validate, fit_coefficients, nested_cross_validate

_ONLY_WHERE_CHOSEN = ("depthwise_elements_beyond_512kb",)


def used_features(measurements: Sequence[Measurement]) -> list[str]:
    """Those features that any measured block has."""
    return [name for name in FEATURES if any(m.features.get(name) for m in measurements)]


def usual_features(measurements: Sequence[Measurement]) -> list[str]:
    """The same without those that are only taken where they were chosen: on most devices they fit noise."""
    return [name for name in used_features(measurements) if name not in _ONLY_WHERE_CHOSEN]


def fit_model(measurements: Sequence[Measurement], features: Sequence[str]) -> FittedModel:
    """Fit coefficients to all measurements, and note the sizes of their blocks."""
    coefficients = fit_coefficients(_design(measurements, features), _latencies(measurements))
    return FittedModel(
        coefficients={name: float(f"{value:.6g}") for name, value in zip(features, coefficients, strict=True)},
        measured_ranges=_ranges(measurements),
        measured_shapes=sorted({shape(m.block) for m in measurements}),
    )


def validate(
    measurements: Sequence[Measurement], features: Sequence[str], chosen_among: Sequence[str] = ()
) -> dict[str, Any]:
    """Cross-validate a fit.

    Args:
        measurements: all of them.
        features: what is fitted.
        chosen_among: where `features` were chosen for these measurements: from which; the choice is then made again
            without each group.

    Returns:
        Mean absolute relative errors and the errors that 90% stay below, over all measurements and of each kind: of
        the fit itself, leave-one-out (`loo`), whole groups held out (`grouped`), and grouped with the features chosen
        anew (`nested`).
    """
    design, latencies = _design(measurements, features), _latencies(measurements)
    groups = [m.group for m in measurements]
    errors = {
        "fit": design @ fit_coefficients(design, latencies) / latencies - 1,
        "loo": cross_validate(design, latencies, range(len(measurements))),
        "grouped": cross_validate(design, latencies, groups),
    }
    if chosen_among:
        errors["nested"] = nested_cross_validate(_design(measurements, chosen_among), latencies, groups)
    kinds = np.array([m.kind for m in measurements])
    return {
        "groups": len(set(groups)),
        **_summary(errors, np.full(len(kinds), True)),
        "grouped_bias": _rounded(errors["grouped"].mean()),
        "choice_blocks": _summary(errors, np.array([_is_choice(m) for m in measurements])),
        "kinds": {kind: _summary(errors, kinds == kind) for kind in dict.fromkeys(kinds.tolist())},
    }


def _is_choice(measurement: Measurement) -> bool:
    """Whether it is one of the blocks that networks repeat, not their stem, head or classifier."""
    return measurement.block.kind in ("mbconv", "sepconv")


def _summary(errors: Mapping[str, np.ndarray], inside: np.ndarray) -> dict[str, float | int]:
    summary: dict[str, float | int] = {"n": int(inside.sum())}
    for name, signed in errors.items():
        sizes = np.abs(signed[inside])
        summary |= {f"{name}_mape": _rounded(sizes.mean()), f"{name}_p90": _rounded(np.quantile(sizes, 0.9))}
    return summary


def _design(measurements: Sequence[Measurement], features: Sequence[str]) -> np.ndarray:
    return np.array([[m.features.get(name, 0) for name in features] for m in measurements], dtype=float)


def _latencies(measurements: Sequence[Measurement]) -> np.ndarray:
    return np.array([m.latency_ms for m in measurements])


def _ranges(measurements: Sequence[Measurement]) -> dict[str, dict[str, tuple[int, int]]]:
    seen: dict[str, list[dict[str, int]]] = defaultdict(list)
    for measurement in measurements:
        seen[size_group(measurement.block)].append(block_sizes(measurement.block))
    return {
        group: {name: (min(s[name] for s in sizes), max(s[name] for s in sizes)) for name in sizes[0]}
        for group, sizes in sorted(seen.items())
    }


def _rounded(value: float) -> float:
    return round(float(value), 4)
