"""The passport: everything a reviewer asks about an exported network, in one JSON file."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import BaseModel, ConfigDict

from .parity import Parity

SCHEMA_VERSION = 1


class _Part(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Accuracy(_Part):
    """Top-1 on the validation images, before and after export."""

    pytorch_top1: float
    onnx_top1: float
    images: int


class LatencyRecord(_Part):
    """One latency at batch 1 and where it comes from; 90% of such predictions end between `low_ms` and `high_ms`."""

    target: str
    device: str
    kind: Literal["predicted", "measured"]
    source: str
    latency_ms: float
    low_ms: float | None = None
    high_ms: float | None = None
    table_kind: Literal["measured", "scaled", "fitted"] | None = None
    table_state: Literal["validated", "fitted", "unvalidated", "failed"] | None = None
    extrapolated: bool | None = None
    median_ms: float | None = None
    p90_ms: float | None = None
    rounds: int | None = None


class ExportedFile(_Part):
    """A file that was handed over."""

    path: str
    format: str
    bytes: int
    sha256: str


class Passport(_Part):
    """What the network is, what it was made from, and what was checked."""

    schema_version: Literal[1] = SCHEMA_VERSION
    name: str
    architecture: str
    se_ratio: float
    width: float
    resolution: int
    num_classes: int
    classes: list[str]
    params: int
    madds: int
    accuracy: Accuracy
    parity: Parity
    latency: list[LatencyRecord]
    files: list[ExportedFile]
    lineage: dict[str, Any]
