"""Measuring on this host, with models small enough to take no time."""

from __future__ import annotations

from pathlib import Path

import onnxruntime
import pytest
from fairnas.latency_tables import (
    HostDevice,
    LatencyError,
    Predictor,
    Rounds,
    block_model,
    load_table,
    measure,
    profile_blocks,
)
from fairnas.latency_tables.devices import host
from fairnas.models import Block

TINY = Block("conv", 3, 4, 8, 2, 3)
SMALL = Block("mbconv", 8, 8, 8, 1, 3, 3)
LARGE = Block("mbconv", 32, 32, 56, 1, 7, 6)


def test_a_profile_is_a_sound_table(tmp_path: Path) -> None:
    device = HostDevice()
    seen: list[tuple[int, int]] = []
    table = profile_blocks(
        device, [TINY, SMALL, LARGE, SMALL], Rounds(5, 5), progress=lambda done, total: seen.append((done, total))
    )
    assert seen == [(done, 15) for done in range(1, 16)]
    assert list(table.blocks) == [TINY.signature, SMALL.signature, LARGE.signature]
    assert table.kind == "measured"
    assert table.device == device.fingerprint()
    assert onnxruntime.__version__ in table.runtime
    for entry in table.blocks.values():
        assert entry.rounds == 5
        assert entry.latency_ms <= entry.median_ms <= entry.p90_ms
        assert entry.disturbed is not None
    # 68 million multiply-adds against 34 thousand.
    assert table.blocks[LARGE.signature].latency_ms > 10 * table.blocks[SMALL.signature].latency_ms
    table.save(tmp_path / "table.json")
    predictor = Predictor(load_table(tmp_path / "table.json"))
    assert predictor.price(LARGE).latency_ms == table.blocks[LARGE.signature].latency_ms


def test_processor_time_is_that_of_the_run_alone() -> None:
    models = {"large": block_model(LARGE).SerializeToString()}
    for sample in HostDevice().measure(models, range(5)):
        assert sample.cpu_ms is not None
        # The clock of processor time may tick in larger steps than the clock on the wall.
        assert 0.2 < sample.cpu_ms <= 1.1 * sample.warm_ms + 0.1


def test_a_file_is_measured_as_its_content_is(tmp_path: Path) -> None:
    content = block_model(SMALL).SerializeToString()
    (tmp_path / "network.onnx").write_bytes(content)
    device = HostDevice()
    outputs = device.outputs({"file": tmp_path / "network.onnx", "content": content})
    assert (outputs["file"] == outputs["content"]).all()
    measured = measure(device, {"pick-1": tmp_path / "network.onnx"}, Rounds(3, 3))
    assert list(measured) == ["pick-1"]
    assert measured["pick-1"].rounds == 3


def test_what_cannot_be_measured_is_refused_in_one_line(tmp_path: Path) -> None:
    (tmp_path / "broken.onnx").write_bytes(b"not a model")
    for model in (tmp_path / "broken.onnx", b"not a model"):
        with pytest.raises(LatencyError, match="broken does not load") as refusal:
            measure(HostDevice(), {"broken": model}, Rounds(1, 1))
        assert "\n" not in str(refusal.value)


@pytest.mark.parametrize(
    ("taken_ms", "warm_ms", "runs"),
    [
        ([9.0, 1.5, 0.9, 0.7, 0.8], 0.7, 5),  # the third warm run finds more of its weights in the caches
        ([9.0, 2.5, 1.4, 1.3], 1.3, 4),  # 5.2 ms of warm runs are enough
        ([9.0, 4.5], 4.5, 2),
    ],
)
def test_a_warm_time_is_the_shortest_of_some_runs_in_a_row(
    monkeypatch: pytest.MonkeyPatch, taken_ms: list[float], warm_ms: float, runs: int
) -> None:
    left = [(taken, taken / 2) for taken in [*taken_ms, 1e-9]]
    monkeypatch.setattr(host._BoundModel, "timed", lambda _: left.pop(0))
    [sample] = HostDevice().measure({"small": block_model(SMALL).SerializeToString()}, range(1))
    assert (sample.cold_ms, sample.warm_ms, sample.cpu_ms) == (9.0, warm_ms, warm_ms / 2)
    assert len(left) == 1 + len(taken_ms) - runs
