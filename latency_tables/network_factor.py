"""A factor for a table from whole networks that somebody timed: for phones whose blocks nobody here can measure."""

from __future__ import annotations

import csv
import io
import math
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from scipy.stats import t

from ..common.errors import UnreadableFile
from ..common.reading import read_text
from ..common.text import plain
from ..models import Block
from .errors import LatencyError
from .predictor import Predictor
from .table import LatencyTable
from .table_parts import LONGEST_MS, SHORTEST_MS, NetworkFactor

LEAST_NETWORKS = 3
"""With fewer, nothing tells how far the next one will be off."""


def read_measurements(path: Path) -> dict[str, float]:
    """Latencies in ms by name, of a CSV file with the columns `name` and `latency_ms`.

    Raises:
        LatencyError: the file cannot be read, or a row is not understood; the line says which.
    """
    try:
        rows = csv.DictReader(io.StringIO(read_text(path)))
        found: dict[str, float] = {}
        for number, row in enumerate(rows, start=2):
            name, text = (row.get("name") or "").strip(), row.get("latency_ms") or ""
            if not name or name in found or not _is_time(text):
                raise LatencyError(
                    f"{plain(str(path))}, line {number}: expected the name of a network, once, and its latency_ms"
                )
            found[name] = float(text)
    except (UnreadableFile, csv.Error) as error:
        raise LatencyError(f"measurements cannot be read: {plain(str(error))}") from None
    if len(found) < LEAST_NETWORKS:
        raise LatencyError(
            f"{plain(str(path))} has {len(found)} networks: a factor needs at least {LEAST_NETWORKS}, as rows of "
            "name,latency_ms"
        )
    return found


def with_network_factor(
    table: LatencyTable, networks: Mapping[str, Sequence[Block]], measured_ms: Mapping[str, float], source: str
) -> LatencyTable:
    """A fitted or scaled table whose predictions are multiplied by what whole networks took, as a share of them.

    The factor is the mean on a logarithmic scale; its error, that of one more network (Student, 90%).

    Args:
        table: an earlier factor of it is replaced.
        networks: the blocks of each network.
        measured_ms: what each took.
        source: who measured, for people.

    Raises:
        LatencyError: the table is a measured one, or cannot price a network.
    """
    if table.kind == "measured":
        raise LatencyError(f"latency table {table.name} was measured, and calibrated there: measure it again instead")
    predictor = Predictor(table.model_copy(update={"network_factor": None}))
    ratios = [math.log(measured_ms[name] / predictor.predict(blocks).latency_ms) for name, blocks in networks.items()]
    n, spread = len(ratios), float(np.std(ratios, ddof=1))
    half = float(t.ppf(0.95, n - 1)) * spread * math.sqrt(1 + 1 / n)
    factor = NetworkFactor(
        factor=round(math.exp(float(np.mean(ratios))), 5), n=n, error=round(math.expm1(half), 5), source=source
    )
    return table.model_copy(update={"network_factor": factor})


def _is_time(text: str) -> bool:
    try:
        return SHORTEST_MS <= float(text) <= LONGEST_MS
    except ValueError:
        return False
