"""Pixel 3 and Raspberry Pi 4: FBNet blocks at 32 pixels, published as HW-NAS-Bench.

The file holds each block's latency less that of the `skip` in its place. Where that is the identity, the value is the
block's. Elsewhere `skip` is a 1x1 convolution with relu, whose features are taken off those of the block, so that
features and latency still are about the same thing.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path

from ...latency_tables.block_features import (
    Features,
    block_features,
    classifier,
    convolution,
    difference,
    inverted_residual,
    total,
)
from ...latency_tables.errors import LatencyError
from ...models import Block
from .measurement import Measurement, Row, integer, milliseconds, read_rows

FILE, BASE_FILE = "fbnet32_block_latency.csv", "fbnet32_block_latency_base.json"
_HEAD_CHANNELS, _CLASSES = 1504, 100  # of FBNet for CIFAR-100, as in HW-NAS-Bench


def read(folder: Path, device: str) -> list[Measurement]:
    """Read `h_in, c_in, c_out, stride, kernel, expand, groups, skip_is_identity, <device>_ms_minus_skip`.

    Equal blocks are in the file once for each layer, with equal latencies: one of each is returned. A group is a shape.

    Args:
        folder: where the file is.
        device: `pixel3` or `raspi4`, as the file calls them.

    Raises:
        LatencyError: the file cannot be read, a row is not understood, or equal blocks differ in latency.
    """
    distinct: dict[tuple[object, ...], Measurement] = {}
    for m in read_rows(folder / FILE, lambda row: _parse(row, f"{device}_ms_minus_skip")):
        first = distinct.setdefault((m.block, m.kind), m)
        if first.latency_ms != m.latency_ms:
            raise LatencyError(f"{folder / FILE}: two latencies of {m.kind} {m.block.signature}; restore the file")
    return list(distinct.values())


def without_groups(measurements: Iterable[Measurement]) -> list[Measurement]:
    """Blocks that our spaces can have: those with grouped convolutions are not among them."""
    return [m for m in measurements if not m.features.get("shuffled_elements")]


def read_base(folder: Path, device: str) -> float:
    """The measured latency of the network of `skip`s alone, in ms.

    Raises:
        LatencyError: the file cannot be read, or does not have it.
    """
    try:
        return float(json.loads((folder / BASE_FILE).read_text())[device]["all_skip_network_ms"])
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise LatencyError(f"{folder / BASE_FILE} has no all_skip_network_ms of {device} ({error!r})") from error


def base_features(measurements: Iterable[Measurement]) -> Features:
    """What the network of `skip`s alone is made of: stem, the skips that are convolutions, head and classifier."""
    shapes = {(m.block.in_channels, m.block.out_channels, m.block.resolution, m.block.stride) for m in measurements}
    first = min(shapes, key=lambda shape: (-shape[2], shape[0], shape[1]))
    _, last_channels, last_resolution, last_stride = max(shapes, key=lambda shape: shape[1])
    resolution = -(-last_resolution // last_stride)
    return total(
        [
            convolution(3, first[0], first[2], kernel=3),
            *[convolution(i, o, -(-size // stride)) for i, o, size, stride in shapes if i != o or stride > 1],
            convolution(last_channels, _HEAD_CHANNELS, resolution),
            classifier(_HEAD_CHANNELS, _CLASSES, resolution),
        ]
    )


def _parse(row: Row, column: str) -> Measurement:
    in_channels, out_channels, resolution = (integer(row, name) for name in ("c_in", "c_out", "h_in"))
    stride, kernel, expansion, groups = (integer(row, name) for name in ("stride", "kernel", "expand", "groups"))
    block = Block("mbconv", in_channels, out_channels, resolution, stride, kernel, expansion, activation="relu")
    kind, features = "mbconv", block_features(block)
    if groups > 1:
        kind = "mbconv-grouped"
        features = inverted_residual(
            in_channels,
            out_channels,
            resolution,
            block.out_resolution,
            hidden=block.hidden_channels,
            kernel=kernel,
            adds=block.has_skip,
            groups=groups,
        )
    if not integer(row, "skip_is_identity"):
        kind += "-less-skip"
        features = difference(features, convolution(in_channels, out_channels, block.out_resolution))
    shape = (in_channels, out_channels, resolution, stride)
    return Measurement(block, features, milliseconds(row, column), shape, kind)
