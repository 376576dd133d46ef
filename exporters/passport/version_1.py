"""Passports of schema version 1, from before there were checksums: read, no longer written.

Nothing but their own form protects them. A newer export whose passport was edited down to look like one would lose
its checks, so that exactly that form is asked for, and nothing that such an export never had.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from ...common.errors import UnreadableFile
from ..checks.cost import check_cost
from ..checks.findings import Finding, failed, ok, skipped
from .checksums import Sha256
from .folder_bytes import check_entries, digest_of, why_not_regular
from .passport import PASSPORT
from .records import FileName, Width


class _Part(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class _Accuracy(_Part):
    pytorch_top1: float
    onnx_top1: float
    images: int


class _Parity(_Part):
    images: int
    max_abs_difference: float
    mean_abs_difference: float | None = None  # which the first of them lacked
    max_relative_difference: float
    top1_agreement: float


class _File(_Part):
    path: FileName
    format: Literal["onnx"]
    bytes: Annotated[int, Field(ge=0)]
    sha256: Sha256


class PassportV1(_Part):
    """As it was written, all of it."""

    schema_version: Literal[1]
    name: str
    architecture: str
    se_ratio: float
    width: Width
    resolution: int
    num_classes: int
    classes: list[str]
    params: int
    madds: int
    accuracy: _Accuracy
    parity: _Parity
    latency: list[dict[str, Any]]
    files: Annotated[list[_File], Field(min_length=1, max_length=1)]
    lineage: dict[str, Any]


def check_version_1(folder: Path, content: dict[str, Any]) -> Iterator[Finding]:
    """What can be told of such a folder: the bytes of its model."""
    try:
        passport = PassportV1.model_validate(content)
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        place = ".".join(str(part) for part in first["loc"])
        reason = f"it says schema version 1, and is not as such passports were ({place}: {first['msg']}): export again"
        yield failed(PASSPORT, "schema", reason)
        return
    yield skipped(
        PASSPORT, "schema", "schema version 1, from before there were checksums: only its files' bytes are checked"
    )
    for file in passport.files:
        reason = _why_not(folder, file)
        yield ok(file.path, "passport") if reason is None else failed(file.path, "passport", reason)
    yield from check_cost(passport)
    yield from check_entries(folder, {*(file.path for file in passport.files), PASSPORT}, PASSPORT)


def _why_not(folder: Path, file: _File) -> str | None:
    if (reason := why_not_regular(folder, file.path)) is not None:
        return reason
    if (size := (folder / file.path).lstat().st_size) != file.bytes:
        return f"it has {size} bytes, {PASSPORT} says {file.bytes}"
    try:
        return None if digest_of(folder / file.path, file.bytes) == file.sha256 else f"it is not that of {PASSPORT}"
    except UnreadableFile as error:
        return str(error)
