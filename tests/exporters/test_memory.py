"""Memory of a model file, measured in processes of their own."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from fairnas.exporters import ExportError, traced
from fairnas.exporters.memory import measure_memory
from torch import nn

pytestmark = pytest.mark.skipif(not Path("/proc/self/clear_refs").exists(), reason="memory is read from Linux's /proc")


def _write(path: Path, hidden: int) -> Path:
    torch.manual_seed(0)
    network = nn.Sequential(nn.Flatten(), nn.Linear(3 * 16 * 16, hidden), nn.ReLU(), nn.Linear(hidden, 10))
    path.write_bytes(traced(network, (1, 3, 16, 16)).SerializeToString())
    return path


def test_a_model_takes_what_its_weights_take_and_nothing_else_is_counted(tmp_path: Path) -> None:
    small = measure_memory(_write(tmp_path / "small.onnx", 16))
    large = measure_memory(_write(tmp_path / "large.onnx", 16_384))
    weights_mb = (tmp_path / "large.onnx").stat().st_size / 1e6
    assert weights_mb > 50
    assert weights_mb < large.model_mb - small.model_mb < 4 * weights_mb
    for record in (small, large):
        assert record.before_mb < record.loaded_mb <= record.peak_mb
        assert record.model_mb == pytest.approx(record.peak_mb - record.before_mb, abs=0.02)
        assert record.before_mb < 150  # PyTorch alone would be more
        assert record.runtime.startswith("ONNX Runtime ")
    assert small.model_mb < 25


def test_the_command_prints_json_or_one_line(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "fairnas.exporters.memory"]
    path = _write(tmp_path / "m.onnx", 16)
    done = subprocess.run([*command, str(path)], capture_output=True, text=True, check=True)
    assert json.loads(done.stdout).keys() == {"runtime", "before_mb", "loaded_mb", "peak_mb", "model_mb", "runs"}
    path.write_bytes(b"no model")
    done = subprocess.run([*command, str(path)], capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert done.stderr.startswith("error: cannot run m.onnx")
    assert done.stderr.count("\n") == 1


def test_what_cannot_be_measured_is_refused_in_a_line(tmp_path: Path) -> None:
    with pytest.raises(ExportError, match="no file"):
        measure_memory(tmp_path / "nowhere.onnx")
    with pytest.raises(ExportError, match=r"not of model\.engine"):
        measure_memory(tmp_path / "model.engine")
