"""A table survives a round trip, and an unsound one is refused in one line that names the file."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest
from fairnas.latency_tables import BlockLatency, LatencyError, LatencyTable, Sample, Validation, list_tables, load_table
from fairnas.latency_tables.table import SCHEMA_FILE, SCHEMA_VERSION, schema
from pydantic import ValidationError

TABLES = sorted((SCHEMA_FILE.parent / "tables").glob("*.json"))
PAIR = {"sum_ms": 1.0, "measured_ms": 2.0}


def _latency(warm_ms: Sequence[float], cpu_ms: float | None = None) -> BlockLatency:
    return BlockLatency.of([Sample("a", n, 2 * warm, warm, cpu_ms) for n, warm in enumerate(warm_ms)])


def _table() -> LatencyTable:
    return LatencyTable(
        schema_version=SCHEMA_VERSION,
        name="bench",
        kind="measured",
        device={"name": "a CPU", "cores": 2},
        runtime="a runtime",
        created="2026-01-01T00:00:00+00:00",
        source="a test [with  odd spacing]",
        validation=Validation(by="nothing", n=3, mape=0.01, spearman_gap_interval=(-0.1, 0.1)),
        blocks={"second": _latency([3.0, 1.5, 2.0]), "first": _latency([0.25])},
    )


def test_round_trip_keeps_content_order_and_digest(tmp_path: Path) -> None:
    path = tmp_path / "new" / "table.json"
    _table().save(path)
    loaded = LatencyTable.load(path)
    assert loaded == _table()
    assert list(loaded.blocks) == ["second", "first"]
    assert loaded.digest() == _table().digest() == hashlib.sha256(path.read_bytes()).hexdigest()
    assert loaded.checksum() == _table().checksum()
    assert [entry.name for entry in path.parent.iterdir()] == ["table.json"]
    assert '"first": { "latency_ms": 0.25, "cold_ms": 0.5,' in path.read_text()


def test_the_checksum_is_that_of_the_content_with_sorted_keys(tmp_path: Path) -> None:
    """As the schema tells everyone who writes tables with a program of their own."""
    content = json.loads(_table().to_json())
    checksum = content.pop("sha256")
    assert hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest() == checksum
    reordered = {"sha256": checksum, **dict(sorted(content.items()))}
    (tmp_path / "table.json").write_text(json.dumps(reordered))
    assert LatencyTable.load(tmp_path / "table.json") == _table()


def test_summary_of_samples() -> None:
    summary = _latency([float(value) for value in range(11, 0, -1)], cpu_ms=4.0)
    assert (summary.latency_ms, summary.median_ms, summary.p90_ms, summary.cold_ms) == (1.0, 6.0, 10.0, 2.0)
    assert summary.rounds == 11
    assert summary.disturbed == pytest.approx(7 / 11, abs=1e-3)  # those above 4.4 ms
    assert _latency([1.0]).disturbed is None
    with pytest.raises(ValidationError):
        _latency([0.0, 1.0])


def test_a_failed_save_leaves_the_old_table(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "table.json"
    _table().save(path)
    before = path.read_bytes()

    def full_disk(_: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full_disk)
    with pytest.raises(OSError, match="No space left"):
        _table().model_copy(update={"name": "other"}).save(path)
    assert path.read_bytes() == before
    assert list(tmp_path.iterdir()) == [path]


def _set(*path: str, value: object) -> Callable[[dict[str, Any]], None]:
    def change(content: dict[str, Any]) -> None:
        for key in path[:-1]:
            content = content[key]
        content[path[-1]] = value

    return change


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (_set("unit", value="us"), "unit"),
        (_set("schema_version", value=3), "schema version 3, newer than 2: update"),
        (_set("schema_version", value=1), "schema version 1, this fairnas reads 2: measure the device again"),
        (_set("schema_version", value="2"), "schema_version"),
        (_set("blocks", "first", "latency_ms", value=-0.25), "blocks.first.latency_ms"),
        (_set("blocks", "first", "latency_ms", value=0), "blocks.first.latency_ms"),
        (_set("blocks", "first", "latency_ms", value="0.25"), "blocks.first.latency_ms"),
        (_set("blocks", "first", "latency_ms", value=float("nan")), "NaN"),
        (_set("blocks", "first", "latency_ms", value=float("inf")), "Infinity"),
        (_set("blocks", "first", "cold_ms", value=-1.0), "blocks.first.cold_ms"),
        (_set("blocks", "first", "rounds", value=-1), "blocks.first.rounds"),
        (_set("blocks", "first", "disturbed", value=1.5), "blocks.first.disturbed"),
        (_set("blocks", "second", "latency_ms", value=2.5), "do not rise"),
        (_set("blocks", value={}), "needs 'blocks'"),
        (_set("created", value=None), "needs 'blocks' and 'created'"),
        (_set("device", value={"cores": 2}), "device has no name"),
        (_set("precision", value="int4"), "precision"),
        (_set("kind", value="fitted"), "needs 'model'"),
        (_set("kind", value="guessed"), "kind"),
        (_set("calibration", value={"intercept_ms": float("nan"), "slope": 1, "networks": [PAIR]}), "NaN"),
        (_set("calibration", value={"intercept_ms": 0, "slope": 0, "networks": [PAIR]}), "calibration.slope"),
        (_set("calibration", value={"intercept_ms": 0, "slope": 1, "networks": []}), "calibration.networks"),
        (_set("validation", "mape", value=-0.1), "validation.mape"),
        (_set("validation", "n", value=0), "validation.n"),
        (_set("surprise", value=1), "surprise"),
        (lambda content: content.pop("device"), "device"),
        (lambda content: content.pop("schema_version"), "schema_version"),
    ],
)
def test_an_unsound_table_is_refused_in_one_line(
    tmp_path: Path, change: Callable[[dict[str, Any]], Any], message: str
) -> None:
    content = json.loads(_table().to_json())
    change(content)
    path = tmp_path / "table.json"
    path.write_text(json.dumps(content))
    assert message in _refusal(path)


@pytest.mark.parametrize(
    "change",
    [
        _set("blocks", "first", "p90_ms", value=0.26),
        _set("name", value="mine"),
        _set("validation", "within_10", value=1.0),
        _set("validation", "groups", value=1),
        _set("sha256", value="0" * 64),
        lambda content: content.pop("sha256"),
    ],
)
def test_a_table_edited_by_hand_is_refused_in_one_line(tmp_path: Path, change: Callable[[dict[str, Any]], Any]) -> None:
    content = json.loads(_table().to_json())
    change(content)
    path = tmp_path / "table.json"
    path.write_text(json.dumps(content))
    assert "was changed after it was made (its sha256 differs)" in _refusal(path)


@pytest.mark.parametrize(
    "damaged",
    [b"", b"[]", b"\xff\xfe{", _table().to_json().encode()[:-40], b'{"schema_version": 1e999}', b"[" * 100_000],
)
def test_a_damaged_file_is_refused_in_one_line(tmp_path: Path, damaged: bytes) -> None:
    path = tmp_path / "table.json"
    path.write_bytes(damaged)
    assert _refusal(path)


def _refusal(path: Path) -> str:
    """What is said of a table: one line that names its file and what to do."""
    with pytest.raises(LatencyError) as refusal:
        LatencyTable.load(path)
    message = str(refusal.value)
    assert str(path) in message
    assert "\n" not in message
    return message


def test_a_table_is_found_by_name_or_path_and_a_wrong_one_gets_the_names(tmp_path: Path) -> None:
    assert "pixel1" in list_tables()
    _table().save(tmp_path / "mine.json")
    assert load_table(tmp_path / "mine.json") == load_table(str(tmp_path / "mine.json")) == _table()
    with pytest.raises(LatencyError, match=r"no latency table 'pixel9'.*pixel1"):
        load_table("pixel9")


@pytest.mark.parametrize("path", TABLES, ids=lambda path: path.stem)
def test_tables_that_come_with_the_package_are_sound_and_called_as_their_files(path: Path) -> None:
    table = load_table(path.stem)
    assert table.name == path.stem
    assert table.validation is not None
    assert table.to_json() == path.read_text()


def test_the_published_schema_is_the_codes() -> None:
    remedy = 'run: python -c "from fairnas.latency_tables import table; table.write_schema()"'
    assert json.loads(SCHEMA_FILE.read_text()) == schema(), remedy


def test_tables_conform_to_the_published_schema() -> None:
    jsonschema = pytest.importorskip("jsonschema")
    published = json.loads(SCHEMA_FILE.read_text())
    jsonschema.Draft202012Validator.check_schema(published)
    validator = jsonschema.Draft202012Validator(published)
    mine = json.loads(_table().to_json())
    for content in (mine, *(json.loads(path.read_text()) for path in TABLES)):
        validator.validate(content)
    for key, value in (("unit", "us"), ("schema_version", 3), ("kind", "guessed"), ("surprise", 1), ("sha256", 3)):
        assert not validator.is_valid(mine | {key: value})
    assert not validator.is_valid({key: value for key, value in mine.items() if key != "sha256"})
