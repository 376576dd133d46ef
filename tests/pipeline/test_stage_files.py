"""Which files of a stage's folder are its own: exactly those that it writes, and no user's that is called almost so."""

from __future__ import annotations

from pathlib import Path

import pytest
from fairnas.exporters.formats import file_names
from fairnas.exporters.onnx import fp16 as onnx_fp16
from fairnas.exporters.onnx import int8 as onnx_int8
from fairnas.latency_tables import profiler
from fairnas.pipeline.latency import picks as check_picks
from fairnas.pipeline.runs.stage_files import own_files, strays

_THEIRS = {
    "latency": ["blocks-2024.jsonl", "networks.notes.jsonl", "references.jsonl", "references-old.jsonl"],
    "search": ["state-mine.json", "state.backup.json", "study.db-copy"],
    "retrain/pick-1": ["weights.safetensors.sha256", "result.json.bak"],
    "picks": ["picks-mine.jsonl"],
    "export/pick-1": ["model.txt", "model.onnx.bak", "model.md", "model.int4.onnx", "model.engine"],
}


@pytest.mark.parametrize("stage", _THEIRS)
def test_a_users_file_that_is_called_almost_as_one_of_ours_stays_the_users(stage: str, tmp_path: Path) -> None:
    for name in _THEIRS[stage]:
        (tmp_path / name).write_text("mine")
    assert own_files(tmp_path, stage, ()) == []
    assert strays(tmp_path, stage, ()) == sorted(_THEIRS[stage])


def test_all_that_a_killed_stage_may_leave_is_its_own(tmp_path: Path) -> None:
    journals = [f"{name}.jsonl" for name in ("blocks", "networks", "networks-again", "references-1", "references-2")]
    left = {
        "latency": [*journals, *(Path(name).stem + profiler._ASIDE for name in journals), ".key"],
        "search": ["state.json", "scores.jsonl", "scores.jsonl.sha256", "study.db", "study.db-journal"],
        "picks": list(check_picks._JOURNALS.values()),
        "export": [onnx_int8.FILE, onnx_fp16.FILE, *file_names(), "SHA256SUMS.sig"],
    }
    for stage, names in left.items():
        folder = tmp_path / stage
        folder.mkdir()
        for name in names:
            (folder / name).touch()
        assert strays(folder, stage, ()) == []
