"""`fairnas targets` lists every table, whatever one of them holds."""

from __future__ import annotations

import hashlib
import json
import os
from pathlib import Path
from typing import Any

import pytest
from fairnas.latency_tables import LatencyTable, Predictor, list_tables, load_table
from fairnas.latency_tables.runtimes.names import runtime_family, runtime_warning
from fairnas.latency_tables.table_parts import BlockLatency
from fairnas.models import PUBLISHED, get_space
from fairnas.pipeline.errors import UserError
from fairnas.pipeline.latency.listing import known_tables
from fairnas.pipeline.latency.profile import factor_table


def _table(created: str) -> str:
    one = BlockLatency(latency_ms=1.0, cold_ms=1.0, median_ms=1.0, p90_ms=1.0, rounds=1)
    content: dict[str, Any] = {
        "schema_version": 2,
        "name": "bench",
        "kind": "measured",
        "device": {"name": "a [/x] CPU"},
        "runtime": "r",
        "created": created,
        "source": "s",
        "blocks": {"b": one},
    }
    content = LatencyTable(**content).model_dump(mode="json", exclude_none=True)
    digest = hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()
    return json.dumps(content | {"sha256": digest})


@pytest.fixture
def rows(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, dict[str, Any]]:
    monkeypatch.chdir(tmp_path)
    for name, content in {
        "naive": _table("2020-01-01"),
        "future": _table("2999-01-01T00:00:00+00:00"),
        "odd": _table("yesterday"),
        "empty": "",
        "other": "[1]",
    }.items():
        (tmp_path / "profiles" / name).mkdir(parents=True)
        (tmp_path / "profiles" / name / "table.json").write_text(content)
    (tmp_path / "profiles" / "pipe").mkdir()
    os.mkfifo(tmp_path / "profiles" / "pipe" / "table.json")
    (tmp_path / "profiles" / "folder" / "table.json").mkdir(parents=True)
    return {Path(row["table"]).parent.name or row["table"]: row for row in known_tables()}


def test_damaged_tables_are_listed_as_such_and_hide_no_other(rows: dict[str, dict[str, Any]]) -> None:
    assert {*list_tables(), "naive", "future", "odd", "empty", "other", "pipe", "folder"} == rows.keys()
    for name in ("odd", "empty", "other", "pipe", "folder"):
        assert rows[name]["state"].startswith("damaged: ")
        assert "table.json" in rows[name]["state"]
    for name in (*list_tables(), "naive", "future"):
        assert "damaged" not in rows[name]["state"]
    assert len({frozenset(row) for row in rows.values()}) == 1


def test_ages(rows: dict[str, dict[str, Any]]) -> None:
    assert int(rows["naive"]["age"].removesuffix(" days")) > 2000
    assert rows["future"]["age"] == "dated in the future"
    assert rows["pixel1"]["age"] == ""


def test_every_row_says_which_runtime_it_is_of(rows: dict[str, dict[str, Any]]) -> None:
    assert rows["pixel1"]["runtime"] == "TensorFlow Lite, one core"
    assert "Once-for-All" in rows["pixel1"]["figure"]


@pytest.mark.parametrize(
    ("text", "family"),
    [
        ("TensorFlow Lite, one core", "LiteRT"),
        ("LiteRT 2.1", "LiteRT"),
        ("ONNX Runtime 1.32.0, CPUExecutionProvider, 1 thread", "ONNX Runtime"),
        ("PyTorch 2.9, CUDA graphs", "PyTorch"),
        ("not named by the file (TensorFlow Lite, to our knowledge)", None),
        ("arithmetic", None),
    ],
)
def test_families_of_runtimes(text: str, family: str | None) -> None:
    assert runtime_family(text) == family


def test_a_table_of_tensorflow_lite_warns_beside_onnx_only() -> None:
    table = load_table("pixel1")
    assert runtime_warning(table, "litert-int8", "LiteRT") is None
    assert runtime_warning(table, "onnx", "ONNX Runtime") == (
        "the table is of TensorFlow Lite, one core; onnx files run in ONNX Runtime, "
        "where they may take more or less time"
    )
    assert "a runtime that its source does not name" in str(
        runtime_warning(load_table("note10"), "onnx", "ONNX Runtime")
    )


def test_a_table_is_scaled_by_networks_that_somebody_timed(tmp_path: Path) -> None:
    times = tmp_path / "times.csv"
    times.write_text("name,latency_ms\nfairnas_a,50\nfairnas_b,43\nfairnas_c,40\n")
    summary = factor_table("pixel1", times, 224, 1.0, 1000, tmp_path / "out")
    table = load_table(tmp_path / "out" / "table.json")
    assert summary["path"] == str(tmp_path / "out" / "table.json")
    assert summary["state"] == "fitted"
    assert table.network_factor
    assert table.network_factor.n == 3
    space = get_space("b")
    assert Predictor(table).predict(space.blocks(PUBLISHED["fairnas_a"], 224)).latency_ms == pytest.approx(50, rel=0.03)
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["table.json"]
    times.write_text("name,latency_ms\nfairnas_a,50\nresnet50,43\nfairnas_c,40\n")
    with pytest.raises(UserError, match="'resnet50' is no network of ours"):
        factor_table("pixel1", times, 224, 1.0, 1000, tmp_path / "out")
    with pytest.raises(UserError, match="needs --out"):
        factor_table("pixel1", times, 224, 1.0, 1000, None)
