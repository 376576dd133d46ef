"""Fit the shipped Pixel 1 table: `python -m fairnas.latency_tables.fit_pixel1 CSV [--out TABLE]`.

A block's latency is a sum of physical features times coefficients that are not negative, so prices stay positive and
grow with kernel, expansion and resolution, down to 1x1 feature maps. The coefficients minimise the mean absolute
relative error (a linear programme): a single odd measurement moves them less than squared errors would allow.

Two errors are stored with the table. Leave-one-out: every block priced by a fit to all the others. Grouped: every
block priced by a fit to blocks of other shapes only (channels, resolution, stride), as a new shape would be. The
features were chosen among some dozens of sets by these same two errors, which therefore flatter them a little.
"""

from __future__ import annotations

import argparse
import csv
import hashlib
import sys
from collections import defaultdict
from collections.abc import Hashable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from scipy.optimize import linprog

from ..models import Block
from .errors import LatencyError
from .features import FEATURES, block_features, block_sizes, size_group
from .table import SCHEMA_VERSION, FittedModel, LatencyTable

DEFAULT_TABLE = Path(__file__).parent / "tables" / "pixel1.json"
_SOURCE = (
    "our fit to the per-block measurements published with ProxylessNAS (arXiv 1812.00332; Pixel 1, TensorFlow Lite, "
    "one core, according to the paper; the file names no device)"
)


@dataclass(frozen=True, slots=True)
class Measurement:
    """A block and its measured mean latency in ms."""

    block: Block
    latency_ms: float


def read_measurements(path: Path) -> list[Measurement]:
    """Read the CSV of measurements: `type, h_in, c_in, c_out, expand, kernel, stride, mean_ms`, a row per block.

    Raises:
        LatencyError: the file cannot be read, or a row is not understood.
    """
    try:
        with path.open(newline="") as file:
            rows = list(csv.DictReader(file))
    except OSError as error:
        raise LatencyError(f"cannot read measurements {path}: {error.strerror}") from error
    measurements: list[Measurement] = []
    for number, row in enumerate(rows, start=2):
        try:
            measurements.append(Measurement(_read_block(row), float(row["mean_ms"])))
        except (KeyError, TypeError, ValueError) as error:
            raise LatencyError(f"{path}, line {number}: not a measured block ({error!r})") from error
    if len(measurements) <= len(FEATURES):
        raise LatencyError(f"{path} has {len(measurements)} measurements: a fit of {len(FEATURES)} features needs more")
    return measurements


def fit_table(measurements: Sequence[Measurement], source: str = _SOURCE) -> LatencyTable:
    """Fit and cross-validate a table."""
    coefficients = fit_coefficients(measurements)
    leave_one_out = cross_validate(measurements, list(range(len(measurements))))
    grouped = cross_validate(measurements, [_shape(m.block) for m in measurements])
    fitted = _relative_errors(measurements, coefficients)
    return LatencyTable(
        schema_version=SCHEMA_VERSION,
        name="pixel1",
        kind="fitted",
        device={"name": "Google Pixel 1", "cores_used": 1},
        runtime="TensorFlow Lite, one core",
        source=source,
        validation={
            "n": len(measurements),
            "shapes": len({_shape(m.block) for m in measurements}),
            "fit_mape": _mape(fitted),
            "loo_mape": _mape(leave_one_out),
            "grouped_mape": _mape(grouped),
            "grouped_bias": round(float(grouped.mean()), 4),
            "by": "shape: channels, resolution, stride",
            "kinds": _by_kind(measurements, leave_one_out, grouped),
        },
        model=FittedModel(
            coefficients={name: float(f"{value:.6g}") for name, value in zip(FEATURES, coefficients, strict=True)},
            measured_ranges=_ranges(measurements),
        ),
    )


def fit_coefficients(measurements: Sequence[Measurement]) -> np.ndarray:
    """Coefficients `[len(FEATURES)]` in ms per unit, none negative, of least mean absolute relative error."""
    relative = _design(measurements) / _latencies(measurements)[:, None]
    # The solver wants columns of similar size; a column of zeros (a feature no block has) keeps coefficient 0.
    scale = np.maximum(relative.max(axis=0), np.finfo(float).tiny)
    rows, columns = relative.shape
    # Variables: coefficients, then the positive and the negative part of each block's relative error.
    result = linprog(
        np.concatenate([np.zeros(columns), np.ones(2 * rows)]),
        A_eq=np.hstack([relative / scale, np.eye(rows), -np.eye(rows)]),
        b_eq=np.ones(rows),
        method="highs",
    )
    return result.x[:columns] / scale * (relative.max(axis=0) > 0)


def cross_validate(measurements: Sequence[Measurement], groups: Sequence[Hashable]) -> np.ndarray:
    """Relative errors `[n]`, signed, of each block as priced by a fit to the blocks of all other groups."""
    errors = np.zeros(len(measurements))
    for group in set(groups):
        inside = [index for index, other in enumerate(groups) if other == group]
        rest = [m for m, other in zip(measurements, groups, strict=True) if other != group]
        errors[inside] = _relative_errors([measurements[index] for index in inside], fit_coefficients(rest))
    return errors


def _read_block(row: dict[str, str]) -> Block:
    resolution, in_channels, out_channels = int(row["h_in"]), int(row["c_in"]), int(row["c_out"])
    match row["type"]:
        case "Conv":
            return Block("conv", in_channels, out_channels, resolution, stride=2, kernel=3)
        case "Conv_1":
            return Block("conv", in_channels, out_channels, resolution)
        case "Logits":
            return Block("classifier", in_channels, out_channels, resolution, activation="none")
        case "expanded_conv":
            expansion, kernel, stride = (int(float(row[name])) for name in ("expand", "kernel", "stride"))
            kind = "sepconv" if expansion == 1 else "mbconv"
            return Block(kind, in_channels, out_channels, resolution, stride, kernel, expansion)
        case other:
            raise ValueError(f"unknown type '{other}'")


def _shape(block: Block) -> tuple[str, int, int, int, int]:
    return block.kind, block.in_channels, block.out_channels, block.resolution, block.stride


def _design(measurements: Sequence[Measurement]) -> np.ndarray:
    return np.array([[block_features(m.block)[name] for name in FEATURES] for m in measurements], dtype=float)


def _latencies(measurements: Sequence[Measurement]) -> np.ndarray:
    return np.array([m.latency_ms for m in measurements])


def _relative_errors(measurements: Sequence[Measurement], coefficients: np.ndarray) -> np.ndarray:
    return _design(measurements) @ coefficients / _latencies(measurements) - 1


def _mape(relative_errors: np.ndarray) -> float:
    return round(float(np.abs(relative_errors).mean()), 4)


def _by_kind(measurements: Sequence[Measurement], loo: np.ndarray, grouped: np.ndarray) -> dict[str, dict[str, Any]]:
    kinds = np.array([m.block.kind for m in measurements])
    return {
        kind: {
            "n": int((kinds == kind).sum()),
            "loo_mape": _mape(loo[kinds == kind]),
            "grouped_mape": _mape(grouped[kinds == kind]),
        }
        for kind in dict.fromkeys(kinds.tolist())
    }


def _ranges(measurements: Sequence[Measurement]) -> dict[str, dict[str, tuple[int, int]]]:
    seen: dict[str, list[dict[str, int]]] = defaultdict(list)
    for measurement in measurements:
        seen[size_group(measurement.block)].append(block_sizes(measurement.block))
    return {
        group: {name: (min(s[name] for s in sizes), max(s[name] for s in sizes)) for name in sizes[0]}
        for group, sizes in sorted(seen.items())
    }


def main(arguments: Sequence[str] | None = None) -> int:
    """Read, fit, write the table and print its errors; 2 when the measurements cannot be used."""
    parser = argparse.ArgumentParser(description="Fit the Pixel 1 latency table to measured blocks.")
    parser.add_argument("csv", type=Path, help="the measurements")
    parser.add_argument("--out", type=Path, default=DEFAULT_TABLE, help="the table to write (default: %(default)s)")
    options = parser.parse_args(arguments)
    try:
        measurements = read_measurements(options.csv)
        checksum = hashlib.sha256(options.csv.read_bytes()).hexdigest()
        table = fit_table(measurements, f"{_SOURCE}; sha256 of the file {checksum}")
        table.save(options.out)
    except (LatencyError, OSError) as error:
        print(error, file=sys.stderr)
        return 2
    checked = table.validation
    print(
        f"{options.out}: {checked['n']} blocks of {checked['shapes']} shapes; mean error of the fit "
        f"{checked['fit_mape']:.1%}, leave-one-out {checked['loo_mape']:.1%}, "
        f"leave-one-shape-out {checked['grouped_mape']:.1%}"
    )
    return 0


if __name__ == "__main__":
    sys.exit(main())
