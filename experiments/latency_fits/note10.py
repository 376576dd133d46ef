"""Samsung Note10: MobileNetV3 blocks at 17 resolutions, published with Once-for-All.

relu (relu6 is the same clamp) and h-swish, without squeeze-and-excitation and with it; Swish was not measured.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from ...latency_tables.block_features import Features, block_features, total
from ...latency_tables.errors import LatencyError
from ...models import Block
from .measurement import Measurement, Row, integer, milliseconds, read_rows

FILE = "note10_block_latency.csv"
_POOLING = "pooling"


def read(folder: Path) -> list[Measurement]:
    """Read `type, h_in, c_in, c_out, expand, kernel, stride, idskip, se, hs, resolution, mean_ms`, a row per block.

    `expand` is the number of hidden channels. A group is a block at all its resolutions. Pooling, which is measured
    apart from the classifier, is added to it.

    Raises:
        LatencyError: the file cannot be read, or a row is not understood.
    """
    rows = read_rows(folder / FILE, lambda row: (integer(row, "resolution"), _parse(row)))
    pooling = {resolution: m for resolution, m in rows if m.kind == _POOLING}
    missing = {resolution for resolution, _ in rows} - set(pooling)
    if missing:
        raise LatencyError(f"{folder / FILE} has no AvgPool2D at resolution {min(missing)}: restore the file")
    return [
        _together(m, pooling[resolution]) if m.group == ("Logits",) else m
        for resolution, m in rows
        if m.kind != _POOLING
    ]


def squeezed_channels(hidden: int) -> int:
    """Channels inside Once-for-All's squeeze-and-excitation: a quarter, in steps of 8, never 10% less."""
    quarter = hidden // 4
    rounded = max(8, (quarter + 4) // 8 * 8)
    return rounded + 8 if rounded < 0.9 * quarter else rounded


def _parse(row: Row) -> Measurement:
    kind = row["type"]
    in_channels, out_channels, resolution = (integer(row, name) for name in ("c_in", "c_out", "h_in"))
    latency_ms = milliseconds(row, "mean_ms")
    if kind == "expanded_conv":
        return _parse_block(row, in_channels, out_channels, resolution, latency_ms)
    match kind:
        case "Conv":
            block = Block("conv", in_channels, out_channels, resolution, stride=2, kernel=3, activation="hswish")
        case "Conv_1":
            block = Block("conv", in_channels, out_channels, resolution, activation="hswish")
        case "Conv_2":
            block = Block("classifier", in_channels, out_channels, resolution, activation="hswish")
        case "Logits":
            block = Block("classifier", in_channels, out_channels, resolution, activation="none")
        case "AvgPool2D":
            block = Block("classifier", in_channels, out_channels, resolution, activation="none")
            features: Features = {"pooled_elements": in_channels * resolution**2}
            return Measurement(block, features, latency_ms, (kind,), _POOLING)
        case other:
            raise ValueError(f"unknown type '{other}'")
    # Their fully connected layers do not pool: that is a row of its own.
    features = block_features(block) | {"pooled_elements": 0}
    return Measurement(block, features, latency_ms, (kind,), block.kind)


def _parse_block(row: Row, in_channels: int, out_channels: int, resolution: int, latency_ms: float) -> Measurement:
    hidden, kernel, stride = (integer(row, name) for name in ("expand", "kernel", "stride"))
    adds, squeezes, swishes = (bool(integer(row, name)) for name in ("idskip", "se", "hs"))
    if hidden % in_channels:
        raise ValueError(f"{hidden} hidden channels are no multiple of {in_channels}")
    block = Block(
        "sepconv" if hidden == in_channels else "mbconv",
        in_channels,
        out_channels,
        resolution,
        stride,
        kernel,
        expansion=hidden // in_channels,
        se_ratio=squeezed_channels(hidden) / in_channels if squeezes else 0.0,
        activation="hswish" if swishes else "relu",
    )
    extra: Features = {}
    if adds and not block.has_skip:  # our sepconv has no skip connection, theirs does
        extra["residual_elements"] = out_channels * block.out_resolution**2
    kind = "-".join([block.kind, *["se"] * squeezes, *["hswish"] * swishes])
    group = (block.kind, in_channels, out_channels, hidden, kernel, stride)
    return Measurement(block, total([block_features(block), extra]), latency_ms, group, kind)


def _together(classifier: Measurement, pooling: Measurement) -> Measurement:
    return replace(
        classifier,
        block=replace(classifier.block, resolution=pooling.block.resolution),
        features=classifier.features | pooling.features,
        latency_ms=classifier.latency_ms + pooling.latency_ms,
    )
