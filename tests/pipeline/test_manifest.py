"""Manifests that are damaged, or a stranger's: one line each, and nothing is done."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from fairnas.common.errors import FairnasError
from fairnas.pipeline.runs.manifest import read_manifest
from fairnas.pipeline.runs.run import Run

from .stages import execute, stage

KEYS = {"key": "k", "outputs": {}}


def nested(depth: int) -> Any:
    value: Any = 1
    for _ in range(depth):
        value = [value]
    return value


@pytest.fixture
def run(tmp_path: Path) -> Path:
    execute(tmp_path / "run", stage())
    return tmp_path / "run"


@pytest.mark.parametrize(
    ("part", "value"),
    [
        *(("config", value) for value in (None, [], "x", 3)),
        *(("inputs", value) for value in (None, [], {"dataset": 3}, {"dataset": None})),
        *(("outputs", value) for value in (None, [], "x", {"../../victim": "d"}, {"/etc/passwd": "d"}, {"a": 3})),
        *(("key", value) for value in (None, 3, [])),
        *(("seconds", value) for value in (None, "x", -1, True)),
        ("outputs", {"a\x1b[2J": "d"}),
        ("seconds_before", []),
        ("machine", []),
    ],
)
def test_an_entry_of_a_wrong_form_is_one_line(part: str, value: Any, run: Path) -> None:
    manifest = json.loads((run / "manifest.json").read_text())
    manifest["stages"]["supernet"][part] = value
    (run / "manifest.json").write_text(json.dumps(manifest))
    with pytest.raises(FairnasError, match=r"manifest\.json is damaged \(") as error:
        execute(run, stage())
    assert str(error.value).isprintable()
    assert (run / "supernet" / "weights.safetensors").read_text() == "result"


@pytest.mark.parametrize(
    "value",
    [
        {"stages": None},
        {"stages": {"../victim": KEYS}},
        {"stages": {"retrain/../../victim": KEYS}},
        {"stages": {"a/b/c": KEYS}},
        {"stages": {"supernet.previous": KEYS}},
        {"stages": {}, "previous": []},
        {"stages": {}, "previous": {"../victim": {"key": "k", "seconds": 1, "files": []}}},
        {"stages": {}, "previous": {"supernet": {"key": "k", "seconds": 1, "files": ["../../victim"]}}},
        {"stages": {}, "moves": {}},
        {"stages": {}, "moves": [{"stage": "../victim", "from": "", "to": None, "files": ["a"]}]},
        {"stages": {}, "moves": [{"stage": "supernet", "from": "/../..", "to": None, "files": ["a"]}]},
        {"stages": {}, "moves": [{"stage": "supernet", "from": "", "to": None, "files": ["../../victim"]}]},
        {"stages": {}, "format_version": "x", "format": "fairnas run"},
        {"stages": {"a": {**KEYS, "config": nested(100_000 // 1000)}}},
    ],
)
def test_a_manifest_of_a_wrong_form_reaches_nothing_outside(value: Any, tmp_path: Path) -> None:
    run, victim = tmp_path / "deep" / "run", tmp_path / "deep" / "victim"
    run.mkdir(parents=True)
    victim.write_text("mine")
    (tmp_path / "victim").write_text("mine")
    (run / "manifest.json").write_text(json.dumps(value))
    with pytest.raises(FairnasError, match="is damaged"), Run(run):
        pass
    assert victim.read_text() == (tmp_path / "victim").read_text() == "mine"
    assert [path.name for path in run.iterdir()] == ["manifest.json"]


@pytest.mark.parametrize(
    "content",
    [b"\xff\xfe", b"", b"{", b"[" * 200_000, b'{"stages": {}, "stages": {}}', b'{"stages": {"a": NaN}}', b"\0"],
)
def test_what_is_no_json_is_one_line(content: bytes, tmp_path: Path) -> None:
    (tmp_path / "manifest.json").write_bytes(content)
    with pytest.raises(FairnasError, match=r"manifest\.json is damaged \(.*\): put a copy of it back"), Run(tmp_path):
        pass


def test_a_pipe_and_a_huge_file_are_refused_at_once(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "manifest.json")
    with pytest.raises(FairnasError, match="is not a regular file"), Run(tmp_path):
        pass
    (tmp_path / "manifest.json").unlink()
    with (tmp_path / "manifest.json").open("wb") as file:
        file.truncate(1 << 40)
    with pytest.raises(FairnasError, match="is too large"), Run(tmp_path):
        pass


def test_a_later_versions_manifest_is_not_guessed_at(run: Path) -> None:
    manifest = read_manifest(run) | {"format_version": 2}
    (run / "manifest.json").write_text(json.dumps(manifest))
    with pytest.raises(FairnasError, match="later version of fairnas: update it"), Run(run):
        pass


def test_each_entry_says_who_made_it(run: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    made: Callable[[], dict[str, Any]] = lambda: {"processor": "another", "threads": 1}  # noqa: E731
    monkeypatch.setattr("fairnas.pipeline.runs.run.machine", made)
    monkeypatch.setattr("fairnas.pipeline.runs.run.commit", lambda: "c0ffee")
    execute(run, stage(), stage("export/pick-1"))
    stages = read_manifest(run)["stages"]
    assert stages["export/pick-1"]["machine"] == made()
    assert stages["export/pick-1"]["commit"] == "c0ffee"
    assert stages["supernet"]["machine"] != made()
    assert stages["supernet"]["commit"] != "c0ffee"
