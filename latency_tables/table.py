"""A latency table: what blocks cost on one device, who says so, and how well that was checked. Data, never code."""

from __future__ import annotations

import hashlib
import json
import re
from datetime import datetime
from pathlib import Path
from typing import Any, Literal

from pydantic import Field, ValidationError, model_validator

from ..common.errors import UnreadableFile
from ..common.files import write_atomic, write_json
from ..common.reading import read_object
from ..common.text import plain
from .errors import LatencyError
from .table_parts import (
    BlockLatency,
    Calibration,
    Finite,
    FittedModel,
    NetworkFactor,
    Precision,
    Steadiness,
    Strict,
    Validation,
)

SCHEMA_VERSION = 2
SCHEMA_FILE = Path(__file__).with_name("table.schema.json")
_TABLES_FOLDER = Path(__file__).parent / "tables"


_LONGEST_LINE = 160
_LARGEST_FILE = 16 << 20  # a table of 10,000 blocks has 2 MB


class LatencyTable(Strict):
    """Block latencies of one device, runtime and precision.

    Attributes:
        name: what the table is called in messages and reports.
        kind: `measured` (a time per block), `scaled` (another device's times, corrected by a few of this one) or
            `fitted` (a formula fitted to somebody's measurements).
        device: the device's fingerprint; `name` is for people.
        precision: of the models that were timed.
        created: when it was measured (ISO 8601).
        source: where the numbers come from.
        validation: how it was checked; None where it was not.
        blocks: by block signature; each block alone.
        calibration: from blocks alone to whole networks, where networks were measured too.
        model: the formula, for fitted tables.
        steadiness: of the device meanwhile; None in tables of which nobody looked, as in all of earlier versions.
        network_factor: what whole networks said of a table that was made of blocks alone.
    """

    schema_version: Literal[2]
    name: str
    kind: Literal["measured", "scaled", "fitted"]
    unit: Literal["ms"] = "ms"
    device: dict[str, str | int | Finite]
    runtime: str
    precision: Precision = "fp32"
    created: str | None = None
    source: str
    validation: Validation | None = None
    blocks: dict[str, BlockLatency] = Field(default_factory=dict)
    calibration: Calibration | None = None
    model: FittedModel | None = None
    steadiness: Steadiness | None = None
    network_factor: NetworkFactor | None = None

    @model_validator(mode="after")
    def _complete(self) -> LatencyTable:
        if self.kind != "fitted" and not (self.blocks and self.created):
            raise ValueError(f"a {self.kind} table needs 'blocks' and 'created'")
        if not self.device.get("name"):
            raise ValueError("its device has no name")
        if self.kind == "fitted" and not self.model:
            raise ValueError("a fitted table needs 'model'")
        if self.kind == "fitted" and (self.calibration or self.blocks):
            raise ValueError("a fitted table has no 'blocks' and no 'calibration'")
        if self.kind != "fitted" and self.model:
            raise ValueError(f"a {self.kind} table has no 'model'")
        if self.kind == "measured" and self.network_factor:
            raise ValueError("a measured table has a 'calibration' of its own and no 'network_factor'")
        return self

    @classmethod
    def load(cls, path: Path) -> LatencyTable:
        """Read a table.

        Raises:
            LatencyError: the file cannot be read, or is not a sound table.
        """
        shown = plain(str(path))
        try:
            content = read_object(path, _LARGEST_FILE)
        except UnreadableFile as error:
            raise LatencyError(f"no sound latency table: {error}: {_REMEDY}") from None
        version = content.get("schema_version")
        if isinstance(version, int) and version > SCHEMA_VERSION:
            raise LatencyError(
                f"latency table {shown} has schema version {version}, newer than {SCHEMA_VERSION}: update fairnas"
            )
        if isinstance(version, int) and version < SCHEMA_VERSION:
            raise LatencyError(
                f"latency table {shown} has schema version {version}, this fairnas reads {SCHEMA_VERSION}: {_REMEDY}"
            )
        checksum = content.pop("sha256", None)
        try:
            table = cls.model_validate_json(json.dumps(content))
        except ValidationError as error:
            raise LatencyError(f"latency table {shown} is not sound ({_describe(error)}): {_REMEDY}") from None
        if table.created is not None and not _is_date(table.created):
            raise LatencyError(f"latency table {shown} is not sound (created: no date in ISO 8601): {_REMEDY}")
        if checksum != table.checksum():
            raise LatencyError(f"latency table {shown} was changed after it was made (its sha256 differs): {_REMEDY}")
        return table

    def save(self, path: Path) -> None:
        """Write the table; a reader finds the old file or the whole new one, never a part.

        Raises:
            OSError: the file cannot be written.
        """
        write_atomic(path, self.to_json())

    def to_json(self) -> str:
        """The table's text: keys in a fixed order, one block on one line, so that versions compare well."""
        content = self._content() | {"sha256": self.checksum()}
        text = json.dumps(content, indent=2, allow_nan=False)
        return re.sub(r"[\[{]\n[^\[\]{}]*[\]}]", _on_one_line, text) + "\n"

    def checksum(self) -> str:
        """SHA-256 of the table's content, which its file carries."""
        return hashlib.sha256(json.dumps(self._content(), sort_keys=True).encode()).hexdigest()

    def digest(self) -> str:
        """SHA-256 of the table's text."""
        return hashlib.sha256(self.to_json().encode()).hexdigest()

    def _content(self) -> dict[str, Any]:
        return self.model_dump(mode="json", exclude_none=True)


def schema() -> dict[str, Any]:
    """The JSON schema of a table's file; `table.schema.json` beside this module is this."""
    described = LatencyTable.model_json_schema()
    described["properties"]["sha256"] = {
        "type": "string",
        "description": "SHA-256 of the content without this key, as JSON with sorted keys",
    }
    described["required"].append("sha256")
    return described


def write_schema() -> None:
    """Write `table.schema.json` again: `python -c "from fairnas.latency_tables import table; table.write_schema()"`."""
    write_json(SCHEMA_FILE, schema())


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
        raise LatencyError(f"no latency table '{plain(str(name_or_path))}': give the path of one, or one of {names}")
    return LatencyTable.load(path)


def list_tables() -> list[str]:
    """Names of the tables that come with the package."""
    return sorted(path.stem for path in _TABLES_FOLDER.glob("*.json"))


_REMEDY = "measure the device again with `fairnas profile`, or restore the file"


def _is_date(text: str) -> bool:
    try:
        datetime.fromisoformat(text)
    except ValueError:
        return False
    return True


def _on_one_line(part: re.Match[str]) -> str:
    joined = " ".join(part[0].split())
    return joined if len(joined) <= _LONGEST_LINE else part[0]


def _describe(error: ValidationError) -> str:
    first = error.errors(include_url=False)[0]
    place = ".".join(str(part) for part in first["loc"])
    reason = plain(f"{place}: {first['msg']}" if place else first["msg"])
    return reason if len(reason) <= _LONGEST_LINE else f"{reason[:_LONGEST_LINE]}..."
