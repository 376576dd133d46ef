"""Measuring: blocks into a latency table, and whole networks to check what the table promised."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from pathlib import Path

from ..models import Block
from .block_model import block_model
from .device import Device, OnnxModel, Progress
from .errors import LatencyError
from .table import SCHEMA_VERSION, BlockLatency, LatencyTable


def profile_blocks(
    device: Device, blocks: Iterable[Block], rounds: int, progress: Progress | None = None
) -> LatencyTable:
    """Measure every distinct block on a device.

    Blocks run alone and warm. A whole network streams all its weights through the caches, but starts only once: on one
    server CPU the sum of blocks is 5 to 10% below whole networks at 224 pixels, 20 to 40% below at 64 pixels, and above
    them for the smallest networks. `calibrate` corrects that.

    Args:
        device: where to measure.
        blocks: what to measure; blocks of equal signature are measured once.
        rounds: how often each block is timed.
        progress: called after every round.

    Raises:
        LatencyError: there is no block, or the device cannot measure one.
    """
    distinct = {block.signature: block for block in blocks}
    if not distinct:
        raise LatencyError("there is no block to measure")
    device.prepare()
    models: dict[str, OnnxModel] = {name: block_model(block).SerializeToString() for name, block in distinct.items()}
    samples = device.measure(models, rounds, progress)
    fingerprint = device.fingerprint()
    return LatencyTable(
        schema_version=SCHEMA_VERSION,
        name=device.id,
        kind="measured",
        device=fingerprint,
        runtime=str(fingerprint["runtime"]),
        created=datetime.now(UTC).isoformat(timespec="seconds"),
        source=f"blocks measured alone, with warm caches, on {fingerprint['name']}, {rounds} rounds",
        blocks={name: BlockLatency.of(values) for name, values in samples.items()},
    )


def measure_onnx(
    device: Device, models: Mapping[str, Path], rounds: int, progress: Progress | None = None
) -> dict[str, BlockLatency]:
    """Measure whole networks at batch 1, by the names they are given.

    Raises:
        LatencyError: a network does not load or run on the device.
    """
    device.prepare()
    samples = device.measure(dict(models), rounds, progress)
    return {name: BlockLatency.of(values) for name, values in samples.items()}
