"""What is said of limits: as predicted with a chance, or when measured; in the precision that was limited."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import numpy as np
import onnx
import pytest
from fairnas.latency_tables import LatencyTable, Predictor, Rounds, profiler
from fairnas.latency_tables.predictor import Prediction
from fairnas.latency_tables.table_parts import BlockLatency, Validation
from fairnas.models import Architecture, Block, get_space
from fairnas.pipeline.config import read_config
from fairnas.pipeline.console import console
from fairnas.pipeline.errors import UserError
from fairnas.pipeline.latency.picks import Checked, check_picks
from fairnas.pipeline.runs.run import Workspace
from fairnas.pipeline.search.limits import Limit
from fairnas.pipeline.stages.context import Context
from fairnas.pipeline.stages.picks import limits_found, tightest
from onnx import numpy_helper

from ..latency_tables.simulated import Simulated

SPACE = get_space("b").scaled(0.25)
ONCE = Rounds(1, 1)
SMALL, LARGE = SPACE.uniform("E3K3"), SPACE.uniform("E6K7")


def blocks_of(architecture: Architecture) -> Sequence[Block]:
    return SPACE.blocks(architecture, 32, 10)


@pytest.fixture(scope="module")
def table() -> LatencyTable:
    """Of another device than the simulated one: measurements leave it as it is. 1 ms per block, 90% within 20%."""
    one = BlockLatency(latency_ms=1.0, cold_ms=1.0, median_ms=1.0, p90_ms=1.0, rounds=1)
    return LatencyTable(
        schema_version=2,
        name="bench",
        kind="measured",
        device={"name": "a CPU"},
        runtime="r",
        created="2026-01-01",
        source="s",
        validation=Validation(by="x", n=60, p90=0.2),
        blocks={block.signature: one for block in SPACE.all_blocks(32, 10)},
    )


@pytest.fixture
def search_folder(table: LatencyTable, tmp_path: Path) -> Path:
    """Two networks, the smaller one the less accurate; the larger is picked."""
    folder = tmp_path / "search"
    folder.mkdir()
    rows = [
        {"architecture": str(network), "accuracy": accuracy, "latency_ms": ms, "latency_int8_ms": ms / 2}
        for network, accuracy, ms in ((SMALL, 0.5, 20.0), (LARGE, 0.75, 23.0))
    ]
    flags = {"feasible": 1, "on_front": 1, "generation": 0, "extrapolated": 0}
    lines = [[str(value) for value in (row | flags).values()] for row in rows]
    (folder / "pareto.csv").write_text("\n".join(map(",".join, [list(rows[0] | flags), *lines])) + "\n")
    (folder / "picks.json").write_text(json.dumps([{"name": "pick-1", "extrapolated": False, **rows[1]}]))
    return folder


@pytest.fixture
def quick_int8(monkeypatch: pytest.MonkeyPatch) -> None:
    """8 bits cost what float costs and, for 4,000 weights that nothing reads, 0.6 ms more."""

    def quantized(model: onnx.ModelProto) -> onnx.ModelProto:
        copy = onnx.ModelProto()
        copy.CopyFrom(model)
        copy.graph.initializer.append(numpy_helper.from_array(np.zeros(4000, dtype=np.float32), "unused"))
        return copy

    monkeypatch.setattr(profiler, "quantized", quantized)


def _int8(table: LatencyTable, limit_ms: float | None) -> Checked:
    limit = None if limit_ms is None else Limit("latency_int8_ms", limit_ms)
    return Checked(table.model_copy(update={"precision": "int8"}), limit)


def _run(
    folder: Path, table: LatencyTable, device: Simulated | None, limit: Limit | None, int8: Checked | None
) -> tuple[list[dict[str, Any]], dict[str, Any], str]:
    out = folder.parent / "picks"
    out.mkdir()
    with console.capture() as captured:
        check_picks(folder, limit, table, blocks_of, device, ONCE, Workspace(out), int8)
    picks, measured = (json.loads((out / name).read_text()) for name in ("picks.json", "measured.json"))
    return picks, measured, captured.get()


def test_the_chance_is_that_of_a_normal_error_of_which_nine_in_ten_lie_inside() -> None:
    found = Prediction(latency_ms=3.88, low_ms=2.80, high_ms=4.96, extrapolated=False)
    assert found.chance_within(3.88) == pytest.approx(0.5)
    assert found.chance_within(4.96) == pytest.approx(0.95)
    assert found.chance_within(2.80) == pytest.approx(0.05)
    assert found.chance_within(3.89) == pytest.approx(0.506, abs=1e-3)
    exact = Prediction(2.0, 2.0, 2.0, False)
    assert (exact.chance_within(2.0), exact.chance_within(1.9)) == (1.0, 0.0)


@pytest.mark.parametrize("quantity", ["latency_ms", "latency_upper_ms"])
def test_a_limit_is_kept_as_predicted_with_its_chance(search_folder: Path, table: LatencyTable, quantity: str) -> None:
    blocks = len(blocks_of(LARGE))
    (pick,), measured, said = _run(search_folder, table, None, Limit(quantity, blocks + 1.0), None)
    assert measured == {}
    assert pick["limit_chance"] == {quantity: pytest.approx(0.6396, abs=1e-3)}  # 1 ms of a 23rd part, of 20% / 1.645
    assert blocks == 23
    assert "limit 24 ms: kept as predicted, not measured (chance 64%)" in said
    assert "when measured" not in said


def test_a_measured_limit_is_kept_when_measured_and_has_no_chance(search_folder: Path, table: LatencyTable) -> None:
    (pick,), _, said = _run(search_folder, table, Simulated(), Limit("latency_ms", 1000.0), None)
    assert "limit_chance" not in pick
    assert f"measured {pick['measured_ms']:.3g} ms" in said
    assert "limit 1e+03 ms: kept when measured" in said
    assert "not measured" not in said


def test_without_a_limit_none_is_spoken_of(search_folder: Path, table: LatencyTable) -> None:
    (pick,), _, said = _run(search_folder, table, None, None, None)
    assert "limit_chance" not in pick
    assert "limit" not in said
    assert "not measured" in said


def test_an_int8_limit_is_predicted_in_int8(search_folder: Path, table: LatencyTable) -> None:
    (pick,), _, said = _run(search_folder, table, None, None, _int8(table, 18.4))
    expected = Predictor(table).predict(blocks_of(LARGE))
    assert (pick["latency_int8_ms"], pick["latency_int8_high_ms"]) == (expected.latency_ms, expected.high_ms)
    assert pick["limit_chance"] == {"latency_int8_ms": pytest.approx(0.05, abs=1e-3)}
    assert "ms in int8 (18.4 to 27.6); limit 18.4 ms: kept as predicted, not measured (chance 5%)" in said


@pytest.mark.usefixtures("quick_int8")
def test_what_was_limited_in_int8_is_measured_in_int8(search_folder: Path, table: LatencyTable) -> None:
    (pick,), measured, said = _run(search_folder, table, Simulated(), None, _int8(table, 1000.0))
    assert pick["measured_int8_ms"] == pytest.approx(pick["measured_ms"] + 0.6)
    assert "limit_chance" not in pick
    assert (measured["int8"]["limit_ms"], measured["int8"]["quantity"]) == (1000.0, "latency_int8_ms")
    assert (measured["limit_ms"], measured["quantity"]) == (None, None)
    assert measured["int8"]["timings"][str(LARGE)]["latency_ms"] == pick["measured_int8_ms"]
    assert measured["timings"][str(LARGE)]["latency_ms"] == pick["measured_ms"]
    assert f"measured {pick['measured_int8_ms']:.3g} ms in int8" in said


@pytest.mark.usefixtures("quick_int8")
def test_a_pick_that_is_late_in_int8_only_makes_way(search_folder: Path, table: LatencyTable) -> None:
    """The smaller network and the larger one on either side of an int8 limit, and no limit in float."""
    (before,), _, _ = _run(search_folder, table, Simulated(), None, _int8(table, None))
    assert before["architecture"] == str(LARGE)
    for path in (search_folder.parent / "picks").iterdir():
        path.unlink()
    (search_folder.parent / "picks").rmdir()
    generous = _int8(table, before["measured_int8_ms"] - 0.1)
    generous.table = generous.table.model_copy(
        update={"blocks": {k: v.model_copy(update={"latency_ms": 0.01}) for k, v in table.blocks.items()}}
    )
    (pick,), measured, said = _run(search_folder, table, Simulated(), None, generous)
    assert pick["architecture"] == str(SMALL)
    assert measured["dropped"] == [str(LARGE)]
    assert "in int8" in next(line for line in said.splitlines() if line.startswith("dropped"))


@pytest.mark.usefixtures("quick_int8")
def test_when_every_pick_is_late_in_int8_one_line_says_so(search_folder: Path, table: LatencyTable) -> None:
    with pytest.raises(UserError, match=r"every pick takes longer than 0\.001 ms in int8 when it is measured"):
        _run(search_folder, table, Simulated(), None, _int8(table, 0.001))


def _context(tmp_path: Path, history: object) -> Context:
    """Of a search for networks of the median latency and of a number of parameters."""
    (tmp_path / "search").mkdir()
    (tmp_path / "search" / "history.json").write_text(json.dumps(history))
    config = read_config("tiny", ["search.constraints=[latency_ms<=median, params<=4e5]"])
    return cast(Context, SimpleNamespace(config=config, run=SimpleNamespace(folder=tmp_path)))


def test_limits_are_those_that_the_search_kept_and_the_median_is_known_again(tmp_path: Path) -> None:
    kept = {"constraints": ["latency_ms<=0.30000000000000004", "params<=400000.0"]}
    assert limits_found(_context(tmp_path, kept)) == [
        Limit("latency_ms", 0.30000000000000004, is_relative=True),
        Limit("params", 400000.0, is_relative=False),
    ]


@pytest.mark.parametrize("history", [{}, {"constraints": None}, {"constraints": ["latency_ms<=8", "params"]}, []])
def test_a_history_without_its_limits_is_damaged(tmp_path: Path, history: object) -> None:
    with pytest.raises(UserError, match=r"history\.json is damaged: search again with --force search"):
        limits_found(_context(tmp_path, history))


def test_what_is_measured_keeps_the_smaller_of_two_limits() -> None:
    upper, middle, params = Limit("latency_upper_ms", 7.0), Limit("latency_ms", 8.0, True), Limit("params", 1.0)
    assert tightest([params, middle, upper], "latency_ms", "latency_upper_ms") == upper
    assert tightest([middle, params], "latency_ms", "latency_upper_ms") == middle
    assert tightest([params], "latency_ms", "latency_upper_ms") is None
