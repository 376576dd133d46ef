"""Pixel 1: MobileNetV2 blocks at 224 pixels, published with ProxylessNAS."""

from __future__ import annotations

from pathlib import Path

from ...latency_tables.block_features import block_features
from ...models import Block
from .measurement import Measurement, Row, integer, milliseconds, read_rows

FILE = "pixel1_block_latency.csv"


def read(folder: Path) -> list[Measurement]:
    """Read the measurements: `type, h_in, c_in, c_out, expand, kernel, stride, mean_ms`, a row per block.

    Raises:
        LatencyError: the file cannot be read, or a row is not understood.
    """
    return read_rows(folder / FILE, _parse)


def _parse(row: Row) -> Measurement:
    block = _block(row)
    shape = (block.kind, block.in_channels, block.out_channels, block.resolution, block.stride)
    return Measurement(block, block_features(block), milliseconds(row, "mean_ms"), shape, block.kind)


def _block(row: Row) -> Block:
    resolution, in_channels, out_channels = (integer(row, name) for name in ("h_in", "c_in", "c_out"))
    match row["type"]:
        case "Conv":
            return Block("conv", in_channels, out_channels, resolution, stride=2, kernel=3)
        case "Conv_1":
            return Block("conv", in_channels, out_channels, resolution)
        case "Logits":
            return Block("classifier", in_channels, out_channels, resolution, activation="none")
        case "expanded_conv":
            expansion, kernel, stride = (integer(row, name) for name in ("expand", "kernel", "stride"))
            kind = "sepconv" if expansion == 1 else "mbconv"
            return Block(kind, in_channels, out_channels, resolution, stride, kernel, expansion)
        case other:
            raise ValueError(f"unknown type '{other}'")
