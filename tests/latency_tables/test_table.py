"""A table survives a round trip, and an unsound one is refused in one line that names the file."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

import pytest
from fairnas.latency_tables import BlockLatency, LatencyError, LatencyTable, list_tables, load_table
from pydantic import ValidationError

PAIR = {"sum_ms": 1.0, "measured_ms": 2.0}


def _table() -> LatencyTable:
    return LatencyTable(
        schema_version=1,
        name="bench",
        kind="measured",
        device={"name": "a CPU", "cores": 2},
        runtime="a runtime",
        created="2026-01-01T00:00:00+00:00",
        source="a test [with  odd spacing]",
        blocks={"second": BlockLatency.of([3.0, 1.5, 2.0]), "first": BlockLatency.of([0.25])},
    )


def test_round_trip_keeps_content_order_and_digest(tmp_path: Path) -> None:
    path = tmp_path / "new" / "table.json"
    _table().save(path)
    loaded = LatencyTable.load(path)
    assert loaded == _table()
    assert list(loaded.blocks) == ["second", "first"]
    assert loaded.digest() == _table().digest() == hashlib.sha256(path.read_bytes()).hexdigest()
    assert [entry.name for entry in path.parent.iterdir()] == ["table.json"]
    assert '"samples": [ 3.0, 1.5, 2.0 ]' in path.read_text()


def test_summary_of_samples() -> None:
    summary = BlockLatency.of([float(value) for value in range(11, 0, -1)])
    assert (summary.latency_ms, summary.median_ms, summary.p90_ms) == (1.0, 6.0, 10.0)
    assert summary.samples == [float(value) for value in range(11, 0, -1)]
    with pytest.raises(ValidationError):
        BlockLatency.of([0.0, 1.0])


def test_a_failed_save_leaves_the_old_table(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "table.json"
    _table().save(path)
    before = path.read_bytes()

    def full_disk(self: Path, *_: object, **__: object) -> int:
        self.touch()
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, "write_text", full_disk)
    with pytest.raises(OSError, match="No space left"):
        _table().model_copy(update={"name": "other"}).save(path)
    assert path.read_bytes() == before
    assert list(tmp_path.iterdir()) == [path]


def _set(*path: str, value: object):
    def change(content: dict) -> None:
        for key in path[:-1]:
            content = content[key]
        content[path[-1]] = value

    return change


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (_set("unit", value="us"), "unit"),
        (_set("schema_version", value=2), "schema version 2, newer than 1: update"),
        (_set("schema_version", value="1"), "schema_version"),
        (_set("blocks", "first", "latency_ms", value=-0.25), "blocks.first.latency_ms"),
        (_set("blocks", "first", "latency_ms", value=0), "blocks.first.latency_ms"),
        (_set("blocks", "first", "latency_ms", value="0.25"), "blocks.first.latency_ms"),
        (_set("blocks", "first", "latency_ms", value=float("nan")), "NaN"),
        (_set("blocks", "first", "latency_ms", value=float("inf")), "Infinity"),
        (_set("blocks", "second", "samples", value=[2.0, -1.0]), "blocks.second.samples.1"),
        (_set("blocks", "second", "samples", value=[]), "blocks.second.samples"),
        (_set("blocks", "second", "latency_ms", value=1.0), "not the minimum of its samples"),
        (_set("blocks", value={}), "needs 'blocks'"),
        (_set("kind", value="fitted"), "needs 'model'"),
        (_set("kind", value="guessed"), "kind"),
        (_set("calibration", value={"intercept_ms": float("nan"), "slope": 1, "networks": [PAIR]}), "NaN"),
        (_set("calibration", value={"intercept_ms": 0, "slope": 0, "networks": [PAIR]}), "calibration.slope"),
        (_set("calibration", value={"intercept_ms": 0, "slope": 1, "networks": []}), "calibration.networks"),
        (_set("surprise", value=1), "surprise"),
        (lambda content: content.pop("device"), "device"),
        (lambda content: content.pop("schema_version"), "schema_version"),
    ],
)
def test_an_unsound_table_is_refused_in_one_line(tmp_path: Path, change, message: str) -> None:
    content = json.loads(_table().to_json())
    change(content)
    path = tmp_path / "table.json"
    path.write_text(json.dumps(content))
    with pytest.raises(LatencyError) as caught:
        LatencyTable.load(path)
    assert message in str(caught.value)
    assert str(path) in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    "damaged",
    [b"", b"[]", b"\xff\xfe{", _table().to_json().encode()[:-40], b'{"schema_version": 1e999}', b"[" * 100_000],
)
def test_a_damaged_file_is_refused_in_one_line(tmp_path: Path, damaged: bytes) -> None:
    path = tmp_path / "table.json"
    path.write_bytes(damaged)
    with pytest.raises(LatencyError) as caught:
        LatencyTable.load(path)
    assert str(path) in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_table_is_found_by_name_or_path_and_a_wrong_one_gets_the_names(tmp_path: Path) -> None:
    assert "pixel1" in list_tables()
    assert load_table("pixel1").name == "pixel1"
    _table().save(tmp_path / "mine.json")
    assert load_table(tmp_path / "mine.json") == load_table(str(tmp_path / "mine.json")) == _table()
    with pytest.raises(LatencyError, match=r"no latency table 'pixel9'.*pixel1"):
        load_table("pixel9")
