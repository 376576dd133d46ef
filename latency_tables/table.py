"""A latency table: what blocks cost on one device, who says so, and how well that was checked. Data, never code."""

from __future__ import annotations

import hashlib
import json
import math
import os
import re
from pathlib import Path
from typing import Annotated, Any, Literal, NoReturn

import numpy as np
from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from .errors import LatencyError

SCHEMA_VERSION = 1
_TABLES_FOLDER = Path(__file__).parent / "tables"

Milliseconds = Annotated[float, Field(gt=0, allow_inf_nan=False)]


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)


class BlockLatency(_Strict):
    """Measurements of one block or network, in ms.

    The minimum is the estimate: under other load it moved by less than 1% where the median moved by 2 to 165%.
    """

    latency_ms: Milliseconds
    median_ms: Milliseconds
    p90_ms: Milliseconds
    samples: Annotated[list[Milliseconds], Field(min_length=1)]

    @classmethod
    def of(cls, samples: list[float]) -> BlockLatency:
        """Summarise raw samples in ms."""
        values = [round(value, 6) for value in samples]
        median, p90 = np.percentile(values, [50, 90]).round(6).tolist()
        return cls(latency_ms=min(values), median_ms=median, p90_ms=p90, samples=values)

    @model_validator(mode="after")
    def _consistent(self) -> BlockLatency:
        if not math.isclose(self.latency_ms, min(self.samples)):
            raise ValueError("latency_ms is not the minimum of its samples")
        return self


class FittedModel(_Strict):
    """A block's latency as a sum of its physical features, each times a coefficient that is not negative.

    Attributes:
        coefficients: ms per unit of each feature (see `features.py`).
        measured_ranges: smallest and largest value of each size among the measured blocks, per group of blocks; a block
            outside them is extrapolated.
    """

    coefficients: dict[str, Annotated[float, Field(ge=0, allow_inf_nan=False)]]
    measured_ranges: dict[str, dict[str, tuple[int, int]]]


class NetworkLatency(_Strict):
    """A whole network, in ms: the sum of its blocks measured alone, and the time that it took."""

    sum_ms: Milliseconds
    measured_ms: Milliseconds


class Calibration(_Strict):
    """What a network costs, from the blocks that were measured alone: `intercept_ms + slope * sum`.

    The intercept may be negative: blocks alone pay 20 times for what a network pays once.
    """

    intercept_ms: Annotated[float, Field(allow_inf_nan=False)]
    slope: Annotated[float, Field(gt=0, allow_inf_nan=False)]
    networks: Annotated[list[NetworkLatency], Field(min_length=1)]


class LatencyTable(_Strict):
    """Block latencies of one device.

    Attributes:
        name: what the table is called in messages and reports.
        kind: `measured` (a time per block) or `fitted` (a formula fitted to somebody's measurements).
        device: the device's fingerprint; `name` is for people.
        created: when it was measured (ISO 8601), for measured tables.
        source: where the numbers come from.
        validation: errors found when the table was checked; fitted tables carry `loo_mape` and `grouped_mape` (mean
            absolute relative error as a fraction), `n` and `by`; measured ones those of `calibrate`.
        blocks: measurements by block signature, for measured tables; each block alone.
        calibration: from blocks alone to whole networks, for measured tables where networks were measured too.
        model: the formula, for fitted tables.
    """

    schema_version: Literal[1]
    name: str
    kind: Literal["measured", "fitted"]
    unit: Literal["ms"] = "ms"
    device: dict[str, str | int]
    runtime: str
    precision: Literal["fp32"] = "fp32"
    created: str | None = None
    source: str
    validation: dict[str, Any] = Field(default_factory=dict)
    blocks: dict[str, BlockLatency] = Field(default_factory=dict)
    calibration: Calibration | None = None
    model: FittedModel | None = None

    @model_validator(mode="after")
    def _complete(self) -> LatencyTable:
        if self.kind == "measured" and not (self.blocks and self.created):
            raise ValueError("a measured table needs 'blocks' and 'created'")
        if self.kind == "fitted" and not self.model:
            raise ValueError("a fitted table needs 'model'")
        if self.kind == "fitted" and self.calibration:
            raise ValueError("only a measured table can have a 'calibration'")
        return self

    @classmethod
    def load(cls, path: Path) -> LatencyTable:
        """Read a table.

        Raises:
            LatencyError: the file cannot be read, or is not a sound table.
        """
        try:
            text = path.read_text(encoding="utf-8")
        except (OSError, UnicodeDecodeError) as error:
            raise LatencyError(f"cannot read latency table {path}: {error}") from error
        try:
            content = json.loads(text, parse_constant=_refuse_constant)
        except (ValueError, RecursionError) as error:
            raise LatencyError(f"latency table {path} is damaged ({error}): {_REMEDY}") from error
        version = content.get("schema_version") if isinstance(content, dict) else None
        if isinstance(version, int) and version > SCHEMA_VERSION:
            raise LatencyError(
                f"latency table {path} has schema version {version}, newer than {SCHEMA_VERSION}: update fairnas"
            )
        try:
            return cls.model_validate_json(text)
        except ValidationError as error:
            raise LatencyError(f"latency table {path} is not sound ({_describe(error)}): {_REMEDY}") from error

    def save(self, path: Path) -> None:
        """Write the table; a reader finds the old file or the whole new one, never a part.

        Raises:
            OSError: the file cannot be written.
        """
        path.parent.mkdir(parents=True, exist_ok=True)
        temporary = path.with_name(f".{path.name}.{os.getpid()}")
        try:
            temporary.write_text(self.to_json(), encoding="utf-8")
            temporary.replace(path)
        finally:
            temporary.unlink(missing_ok=True)

    def to_json(self) -> str:
        """The table's text: keys in a fixed order, a list of numbers on one line, so that versions compare well."""
        text = json.dumps(self.model_dump(mode="json", exclude_none=True), indent=2, allow_nan=False)
        return re.sub(r"\[\n[^\[\]{}\"]*\]", lambda numbers: " ".join(numbers[0].split()), text) + "\n"

    def digest(self) -> str:
        """SHA-256 of the table's text."""
        return hashlib.sha256(self.to_json().encode()).hexdigest()


def load_table(name_or_path: str | Path) -> LatencyTable:
    """A table that comes with the package, by name (`pixel1`), or anyone's own, by path.

    Raises:
        LatencyError: there is no such table, or it is not sound.
    """
    shipped = _TABLES_FOLDER / f"{name_or_path}.json"
    if isinstance(name_or_path, str) and name_or_path in list_tables():
        return LatencyTable.load(shipped)
    path = Path(name_or_path)
    if not path.exists():
        names = ", ".join(list_tables())
        raise LatencyError(f"no latency table '{name_or_path}': give the path of one, or one of {names}")
    return LatencyTable.load(path)


def list_tables() -> list[str]:
    """Names of the tables that come with the package."""
    return sorted(path.stem for path in _TABLES_FOLDER.glob("*.json"))


_REMEDY = "measure the device again with `fairnas profile`, or restore the file"


def _refuse_constant(name: str) -> NoReturn:
    raise ValueError(f"it contains {name}")


def _describe(error: ValidationError) -> str:
    first = error.errors(include_url=False)[0]
    place = ".".join(str(part) for part in first["loc"])
    return f"{place}: {first['msg']}" if place else first["msg"]
