"""Ways of predicting networks on a device from a few of their times."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
from scipy.optimize import nnls
from sklearn.exceptions import ConvergenceWarning
from sklearn.gaussian_process import GaussianProcessRegressor
from sklearn.gaussian_process.kernels import RBF, ConstantKernel, DotProduct, WhiteKernel
from sklearn.linear_model import RidgeCV
from sklearn.preprocessing import StandardScaler

_EDGES = ((0, 1), (0, 2), (1, 2), (0, 3), (1, 3), (2, 3))


OPERATIONS = "1234"  # skip, 1x1 convolution, 3x3 convolution, average pooling; 0 is none


@dataclass(frozen=True, slots=True)
class Networks:
    """Networks that were measured on several devices.

    Attributes:
        devices: their names.
        latency_ms: `[n, devices]`.
        macs: `[n]`, millions of multiply-adds of the convolutions that are used.
        operations: `[n, 4]`, how often each operation is used.
        connected: `[n]`, whether the output depends on the input; runtimes drop all work of the others.
    """

    devices: tuple[str, ...]
    latency_ms: np.ndarray
    macs: np.ndarray
    operations: np.ndarray
    connected: np.ndarray

    def on(self, devices: Sequence[str]) -> Networks:
        """The same networks, known on some of the devices."""
        columns = [self.devices.index(device) for device in devices]
        return Networks(tuple(devices), self.latency_ms[:, columns], self.macs, self.operations, self.connected)


Method: TypeAlias = Callable[[Networks, np.ndarray, np.ndarray], np.ndarray]
"""From known devices, indices of timed networks `[t]` and their times `[t]` to latencies `[n]`, all in ms."""


def used_operations(name: str) -> str:
    """The same architecture with 0 in the place of every operation that lies on no way from input to output.

    Runtimes drop those; counting them made a network look dearer than it is.
    """
    edges = [(start, end, operation) for (start, end), operation in zip(_EDGES, name, strict=True)]
    reached, leading = {0}, {3}
    for start, end, operation in sorted(edges):
        if operation != "0" and start in reached:
            reached.add(end)
    for start, end, operation in sorted(edges, reverse=True):
        if operation != "0" and end in leading:
            leading.add(start)
    return "".join(op if start in reached and end in leading else "0" for start, end, op in edges)


def used_macs(names: Sequence[str], used: Sequence[str], macs: np.ndarray) -> np.ndarray:
    """Millions of multiply-adds of the operations that are used: all stages' convolutions have equally many."""
    before, after = (np.array([[1, _convolved(name)] for name in some], dtype=float) for some in (names, used))
    line = np.linalg.lstsq(before, macs, rcond=None)[0]
    if np.abs(before @ line / macs - 1).max() > 0.01:  # some other count, of which nothing can be taken away
        return macs
    return after @ line


def _convolved(name: str) -> int:
    return name.count("2") + 9 * name.count("3")


def _sum(known: Networks, timed: np.ndarray, times: np.ndarray, *, operations: bool = False) -> np.ndarray:
    parts = [known.latency_ms]
    if operations:
        parts += [known.operations, known.macs[:, None], np.ones((len(known.macs), 1))]
    terms = np.hstack(parts)
    terms = terms / terms.mean(axis=0)
    typical = np.median(times)
    # Relative errors, but times far below the others (networks that do nothing) do not take over.
    weights = 1 / np.maximum(times / typical, 0.1)
    coefficients = _nonnegative_ridge(terms[timed] * weights[:, None], times / typical * weights)
    return np.maximum(terms @ coefficients * typical, 1e-3)


def _product(known: Networks, timed: np.ndarray, times: np.ndarray, *, macs: bool = False) -> np.ndarray:
    factors = np.hstack([known.latency_ms, known.macs[:, None]]) if macs else known.latency_ms
    terms = np.log(factors) - np.log(np.median(factors, axis=0))
    wanted, middle = np.log(times), np.median(np.log(times))
    free = np.ones((len(terms), 1))
    terms = np.hstack([terms, free, -free])  # a constant of either sign
    weights, coefficients = np.ones(len(timed)), np.zeros(terms.shape[1])
    for _ in range(8):  # Huber's loss by reweighting: networks that do nothing are outliers
        root = np.sqrt(weights)
        coefficients = _nonnegative_ridge(terms[timed] * root[:, None], (wanted - middle) * root, unpenalised=2)
        weights = np.minimum(1, 0.2 / np.maximum(np.abs(terms[timed] @ coefficients - wanted + middle), 1e-6))
    return np.exp(terms @ coefficients + middle)


def _nonnegative_ridge(terms: np.ndarray, wanted: np.ndarray, unpenalised: int = 0) -> np.ndarray:
    """Coefficients of least squares with a light ridge, none negative; the last `unpenalised` are free of it."""
    columns = terms.shape[1]
    penalty = np.sqrt(0.05) * np.eye(columns)[: columns - unpenalised]
    return nnls(np.vstack([terms, penalty]), np.concatenate([wanted, np.zeros(len(penalty))]))[0]


def _both(known: Networks, timed: np.ndarray, times: np.ndarray) -> np.ndarray:
    sums, products = _sum(known, timed, times, operations=True), _product(known, timed, times, macs=True)
    return np.sqrt(sums * products)


def _ridge(known: Networks, timed: np.ndarray, times: np.ndarray) -> np.ndarray:
    points = StandardScaler().fit_transform(_logarithms(known))
    return np.exp(RidgeCV(np.logspace(-2, 4, 19)).fit(points[timed], np.log(times)).predict(points))


def _gaussian_process(known: Networks, timed: np.ndarray, times: np.ndarray) -> np.ndarray:
    points = StandardScaler().fit_transform(np.hstack([_logarithms(known), known.operations]))
    strengths = (0.1 * DotProduct(1.0, "fixed")) + (ConstantKernel(0.1) * RBF(3.0)) + WhiteKernel(0.05)
    with warnings.catch_warnings():
        # A strength at the end of its range only says that its part is not needed.
        warnings.simplefilter("ignore", ConvergenceWarning)
        process = GaussianProcessRegressor(strengths, normalize_y=True).fit(points[timed], np.log(times))
    return np.exp(process.predict(points))


def _logarithms(known: Networks) -> np.ndarray:
    return np.log(np.hstack([known.latency_ms, known.macs[:, None]]))


METHODS: dict[str, Method] = {
    "sum": _sum,
    "sum with operations": lambda *task: _sum(*task, operations=True),
    "product": _product,
    "product with multiply-adds": lambda *task: _product(*task, macs=True),
    "sum and product": _both,
    "ridge of logarithms": _ridge,
    "Gaussian process of logarithms": _gaussian_process,
}


def _macs_line(known: Networks, timed: np.ndarray, times: np.ndarray) -> np.ndarray:
    slope, intercept = np.polyfit(known.macs[timed], times, 1)
    return intercept + slope * known.macs


def _macs_power(known: Networks, timed: np.ndarray, times: np.ndarray) -> np.ndarray:
    slope, intercept = np.polyfit(np.log(known.macs[timed]), np.log(times), 1)
    return np.exp(intercept + slope * np.log(known.macs))


BASELINES: dict[str, Method] = {"line": _macs_line, "power law": _macs_power}
