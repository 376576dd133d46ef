"""Measuring on this host, with models small enough to take no time."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
from fairnas.latency_tables import (
    HostDevice,
    LatencyError,
    Predictor,
    block_model,
    get_target,
    list_targets,
    load_table,
    measure_onnx,
    open_device,
    profile_blocks,
)
from fairnas.models import Block

TINY = Block("conv", 3, 4, 8, 2, 3)
SMALL = Block("mbconv", 8, 8, 8, 1, 3, 3)
LARGE = Block("mbconv", 32, 32, 56, 1, 7, 6)


def test_profile_makes_a_sound_table_of_raw_samples(tmp_path: Path) -> None:
    device = HostDevice()
    seen: list[tuple[int, int]] = []
    table = profile_blocks(device, [TINY, SMALL, LARGE, SMALL], 5, lambda done, total: seen.append((done, total)))
    assert seen == [(1, 5), (2, 5), (3, 5), (4, 5), (5, 5)]
    assert list(table.blocks) == [TINY.signature, SMALL.signature, LARGE.signature]
    assert table.kind == "measured"
    assert table.device == device.fingerprint()
    assert onnxruntime.__version__ in table.runtime
    for entry in table.blocks.values():
        assert len(entry.samples) == 5
        assert entry.latency_ms == min(entry.samples) <= entry.median_ms <= entry.p90_ms <= max(entry.samples)
    # 68 million multiply-adds against 34 thousand.
    assert table.blocks[LARGE.signature].latency_ms > 10 * table.blocks[SMALL.signature].latency_ms
    table.save(tmp_path / "table.json")
    predictor = Predictor(load_table(tmp_path / "table.json"))
    assert predictor.price(LARGE).latency_ms == table.blocks[LARGE.signature].latency_ms


def test_rounds_are_interleaved(monkeypatch: pytest.MonkeyPatch) -> None:
    order: list[str] = []
    from fairnas.latency_tables.devices import host

    class Recorder:
        def __init__(self, name: str, model: object) -> None:
            self.name = name

        def once(self) -> float:
            order.append(self.name)
            return float(len(order))

    monkeypatch.setattr(host, "_BoundModel", Recorder)
    samples = HostDevice().measure({"a": b"", "b": b""}, rounds=2)
    assert order == ["a", "a", "b", "b"] * 2
    # The second of each pair of runs is the one that is timed.
    assert samples == {"a": [2.0, 6.0], "b": [4.0, 8.0]}


def test_networks_are_measured_from_files_with_a_dynamic_batch(tmp_path: Path) -> None:
    model = block_model(SMALL)
    for value in (*model.graph.input, *model.graph.output):
        value.type.tensor_type.shape.dim[0].dim_param = "batch"
    onnx.save(model, tmp_path / "network.onnx")
    measured = measure_onnx(HostDevice(), {"pick-1": tmp_path / "network.onnx"}, rounds=3)
    assert list(measured) == ["pick-1"]
    assert len(measured["pick-1"].samples) == 3


def test_verify_tells_a_right_output_from_a_wrong_one() -> None:
    model = block_model(TINY).SerializeToString()
    images = np.random.default_rng(0).standard_normal((1, 3, 8, 8), dtype=np.float32)
    reference = np.asarray(onnxruntime.InferenceSession(model).run(None, {"input": images})[0])
    device = HostDevice()
    assert device.verify(model, {"input": images}, reference) <= 1e-6
    assert device.verify(model, {"input": images}, reference + 0.5) == pytest.approx(0.5, rel=1e-3)


def test_what_cannot_be_measured_is_refused_in_one_line(tmp_path: Path) -> None:
    (tmp_path / "broken.onnx").write_bytes(b"not a model")
    for models in (
        {"broken": tmp_path / "broken.onnx"},
        {"broken": b"not a model"},
        {"broken": tmp_path / "none.onnx"},
    ):
        with pytest.raises(LatencyError, match="broken does not load") as caught:
            HostDevice().measure(models, rounds=1)
        assert "\n" not in str(caught.value)
    with pytest.raises(LatencyError, match="at least 1"):
        HostDevice().measure({}, rounds=0)
    with pytest.raises(LatencyError, match="no block"):
        profile_blocks(HostDevice(), [], rounds=1)


def test_targets_name_their_tables_and_devices() -> None:
    assert list_targets() == ["cpu", "pixel"]
    pixel, cpu = get_target("pixel"), get_target("cpu")
    assert pixel.table
    assert load_table(pixel.table).device["name"] == "Google Pixel 1"
    assert cpu.table is None
    assert isinstance(open_device(cpu), HostDevice)
    assert pixel.formats == cpu.formats == ("onnx",)
    with pytest.raises(LatencyError, match=r"target pixel cannot be measured from here.*pixel1"):
        open_device(pixel)
    with pytest.raises(LatencyError, match="unknown target 'pixle': choose from cpu, pixel"):
        get_target("pixle")
