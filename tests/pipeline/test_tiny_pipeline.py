"""The whole pipeline at its smallest: all stages, all files, limits kept, and nothing done twice."""

from __future__ import annotations

import csv
import json
import shutil
from pathlib import Path

import pytest
from fairnas.exporters.verify import failures, verify

from . import tiny
from .processes import Processes, fairnas

EXPORTED = ("model.onnx", "passport.json", "passport.html", "SHA256SUMS")
FILES = [
    "config.yaml",
    "manifest.json",
    "supernet/weights.safetensors",
    "supernet/metrics.jsonl",
    "supernet/fairness.json",
    "oneshot/scores.json",
    "latency/table.json",
    "latency/validation.json",
    "search/pareto.csv",
    "search/picks.json",
    "search/history.json",
    "search/study.db",
    "picks/picks.json",
    "picks/measured.json",
    "picks/table.json",
    *(
        f"retrain/pick-{n}/{file}"
        for n in (1, 2, 3)
        for file in ("weights.safetensors", "metrics.jsonl", "result.json")
    ),
    *(f"export/pick-{n}/{file}" for n in (1, 2, 3) for file in EXPORTED),
    "report/index.html",
]

pytestmark = pytest.mark.slow


def test_every_stage_and_file_is_there(unbroken: Path) -> None:
    assert list(tiny.manifest(unbroken)["stages"]) == tiny.STAGES
    assert [name for name in FILES if not (unbroken / name).stat().st_size] == []


def test_nothing_unfinished_is_left(unbroken: Path) -> None:
    names = {path.name for path in unbroken.rglob("*")}
    assert not names & {"checkpoint.pt", ".key"}
    assert not [name for name in names if name.endswith(".tmp")]


def test_exported_networks_keep_the_limit(unbroken: Path) -> None:
    history = json.loads((unbroken / "search" / "history.json").read_text())
    limit = {row["quantity"]: row["limit"] for row in history["satisfiability"]}["latency_ms"]
    picks = json.loads((unbroken / "picks" / "picks.json").read_text())
    passports = [json.loads(path.read_text()) for path in sorted(unbroken.glob("export/*/passport.json"))]
    assert len(passports) >= 3
    assert [passport["architecture"] for passport in passports] == [pick["architecture"] for pick in picks]
    assert len({passport["architecture"] for passport in passports}) == len(passports)
    for passport, pick in zip(passports, picks, strict=True):
        (exported,) = passport["formats"]
        assert (exported["format"], exported["status"]) == ("onnx", "written")
        predicted = next(record for record in exported["latency"] if record["kind"] == "predicted")
        assert predicted["latency_ms"] <= limit
        for name in ("latency_ms", "low_ms", "high_ms"):
            stated = pick[name if name == "latency_ms" else f"latency_{name}"]
            assert predicted[name] == pytest.approx(stated, rel=1e-9)
        assert predicted["low_ms"] < predicted["latency_ms"] < predicted["high_ms"]
        assert (passport["params"], passport["madds"]) == (pick["params"], pick["madds"])


def test_exports_verify(unbroken: Path) -> None:
    for folder in sorted(unbroken.glob("export/*")):
        findings = verify(folder)
        assert not failures(findings), findings


def test_every_scored_architecture_is_in_the_table_and_in_the_study(unbroken: Path) -> None:
    with (unbroken / "search" / "pareto.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert len({row["architecture"] for row in rows}) == len(rows) == 18
    trials = tiny.comparable(unbroken)["search/study.db"]
    assert [attributes["architecture"] for _, _, attributes in trials] == [row["architecture"] for row in rows]
    assert [[float(row["accuracy"]), float(row["latency_ms"])] for row in rows] == [values for _, values, _ in trials]


def test_a_second_run_finds_every_stage_cached(processes: Processes, unbroken: Path, tmp_path: Path) -> None:
    shutil.copytree(unbroken, tmp_path / "run")
    before = {path: path.stat().st_mtime_ns for path in (tmp_path / "run").rglob("*/*") if path.is_file()}
    process = processes.start(fairnas, *tiny.arguments(tmp_path / "run"), log=tmp_path / "log")
    assert process.wait() == 0, process.output
    assert tiny.lines(process.output, "cached") == tiny.STAGES
    assert not tiny.lines(process.output, "running")
    assert {path: path.stat().st_mtime_ns for path in before} == before
