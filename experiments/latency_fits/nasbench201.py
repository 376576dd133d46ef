"""A check on whole networks: all of NAS-Bench-201, timed on the devices of the FBNet tables (HW-NAS-Bench).

Three stages of five cells with 16, 32 and 64 channels at 32, 16 and 8 pixels. Nearly all their work are dense 3x3
convolutions, which FBNet's blocks do not have: the tables price these as so many multiply-adds of 1x1 convolutions, and
pooling and relu that stand alone not at all.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np
from scipy.stats import rankdata

from ...latency_tables.block_features import Features, classifier, convolution, total
from .measurement import Row, milliseconds, read_rows

FILE = "nasbench201_latency.csv"
_EDGES = ((0, 1), (0, 2), (1, 2), (0, 3), (1, 3), (2, 3))
_NONE, _KERNELS = "0", {"2": 1, "3": 3}
_OPERATIONS, _CELLS, _CLASSES = "01234", 5, 10
_STAGES = ((16, 32), (32, 16), (64, 8))  # channels, pixels


def check(folder: Path, device: str, coefficients: Mapping[str, float]) -> dict[str, float | int]:
    """Compare a table's predictions with measured networks, and multiply-adds alone with them.

    Only networks whose every operation leads from input to output: of the others, no rule tells which operations the
    runtime left out (some are timed as if all were computed, some as if nothing were).

    Args:
        folder: where the file is.
        device: `pixel3` or `raspi4`, as the file calls them.
        coefficients: ms per unit of each feature.

    Returns:
        Rank correlations, and mean relative errors: `mape` as predicted, the `scaled` ones after one common factor.

    Raises:
        LatencyError: the file cannot be read, or a row is not understood.
    """
    rows = read_rows(folder / FILE, lambda row: (_architecture(row), milliseconds(row, device)))
    networks = [(features, latency) for arch, latency in rows if (features := network_features(arch)) is not None]
    measured = np.array([latency for _, latency in networks])
    predicted = np.array([sum(c * f.get(name, 0) for name, c in coefficients.items()) for f, _ in networks])
    madds = np.array([float(f["dense_madds"]) for f, _ in networks])
    return {
        "n": len(networks),
        "left_out": len(rows) - len(networks),
        "spearman": _rounded(spearman(predicted, measured)),
        "scaled_mape": _rounded(scaled_error(predicted, measured)),
        "mape": _rounded(np.abs(predicted / measured - 1).mean()),
        "bias": _rounded((predicted / measured - 1).mean()),
        "madds_spearman": _rounded(spearman(madds, measured)),
        "madds_scaled_mape": _rounded(scaled_error(madds, measured)),
    }


def network_features(architecture: str) -> Features | None:
    """The features of a network; None where some of its operations, or all, do not lead from input to output.

    Args:
        architecture: six digits, the operations on edges 0-1, 0-2, 1-2, 0-3, 1-3, 2-3: none, skip, 1x1 convolution, 3x3
            convolution, average pooling.
    """
    edges = [(edge, operation) for edge, operation in zip(_EDGES, architecture, strict=True) if operation != _NONE]
    if not _is_connected([edge for edge, _ in edges]):
        return None
    parts = [convolution(3, _STAGES[0][0], _STAGES[0][1], kernel=3, activated=False)]
    for stage, (channels, pixels) in enumerate(_STAGES):
        if stage:
            parts.append(_reduction(_STAGES[stage - 1][0], channels, pixels))
        parts += [_cell(edges, channels, pixels)] * _CELLS
    last_channels, last_pixels = _STAGES[-1]
    return total([*parts, classifier(last_channels, _CLASSES, last_pixels)])


def scaled_error(predicted: np.ndarray, measured: np.ndarray) -> float:
    """Mean absolute relative error after the factor that makes it least."""
    ratios = predicted / measured
    # sum |factor * ratio - 1| is least where factor is a median of 1 / ratio, each weighing its ratio.
    order = np.argsort(ratios)[::-1]
    weights = np.cumsum(ratios[order])
    factor = 1 / ratios[order][np.searchsorted(weights, weights[-1] / 2)]
    return float(np.abs(factor * ratios - 1).mean())


def spearman(x: np.ndarray, y: np.ndarray) -> float:
    """Rank correlation, equal values sharing their ranks."""
    return float(np.corrcoef(rankdata(x), rankdata(y))[0, 1])


def _architecture(row: Row) -> str:
    architecture = row["arch"]
    if len(architecture) != len(_EDGES) or set(architecture) - set(_OPERATIONS):
        raise ValueError(f"arch is '{architecture}'")
    return architecture


def _is_connected(edges: list[tuple[int, int]]) -> bool:
    """Whether each edge is reached from the input and reaches the output, and there is one."""
    fed, used = {0} | {end for _, end in edges}, {3} | {start for start, _ in edges}
    return bool(edges) and all(start in fed and end in used for start, end in edges)


def _cell(edges: list[tuple[tuple[int, int], str]], channels: int, pixels: int) -> Features:
    convolutions = [
        convolution(channels, channels, pixels, kernel=_KERNELS[operation], activated=False)
        for _, operation in edges
        if operation in _KERNELS
    ]
    sums = len(edges) - len({end for (_, end), _ in edges})
    return total([*convolutions, {"residual_elements": sums * channels * pixels**2}])


def _reduction(in_channels: int, channels: int, pixels: int) -> Features:
    """A residual block: two 3x3 convolutions, and a shortcut of average pooling and a 1x1 convolution."""
    return total(
        [
            convolution(in_channels, channels, pixels, kernel=3, activated=False),
            convolution(channels, channels, pixels, kernel=3, activated=False),
            convolution(in_channels, channels, pixels, activated=False),
            {"residual_elements": channels * pixels**2},
        ]
    )


def _rounded(value: float) -> float:
    return round(float(value), 4)
