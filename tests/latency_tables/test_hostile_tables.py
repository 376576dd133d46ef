"""Whatever a table's file holds: one line that says what is wrong, or predictions that a network can take."""

from __future__ import annotations

import hashlib
import json
import math
import os
import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from fairnas.latency_tables import LatencyError, LatencyTable, Predictor, judge, load_table
from fairnas.latency_tables.table_parts import BlockLatency, Calibration, NetworkFactor, NetworkLatency, Validation
from fairnas.models import get_space
from fairnas.pipeline.search.costs import space_costs

SPACE = get_space("b").scaled(0.25)
BLOCKS = SPACE.all_blocks(32, 10)
NETWORK = SPACE.blocks(SPACE.uniform("E3K5"), 32, 10)
ODD: list[Any] = [
    *(None, True, "", "0.25", "x" * 5000, "[/x]", "\x1b[31m", "\ud800", "2026-13-45", [], {}, [[]], {"a": {}}),
    *(-1, 0, 1, 7, -0.0, 1e-320, 1e-9, 0.5, 1e9, 1e308, -1e308, 10**30, 10**600),
    *(float("nan"), float("inf"), -float("inf")),
]


def _measured() -> dict[str, Any]:
    times = {"latency_ms": 0.25, "cold_ms": 0.5, "median_ms": 0.3, "p90_ms": 0.4, "rounds": 5, "disturbed": 0.1}
    table = LatencyTable(
        schema_version=2,
        name="bench",
        kind="measured",
        device={"name": "a CPU", "cores": 2, "clock_us": 0.5},
        runtime="a runtime",
        created="2026-01-01T00:00:00+00:00",
        source="s",
        validation=Validation(by="x", n=60, mape=0.01, p90=0.02, within_10=1.0, spearman_gap_interval=(-0.1, 0.1)),
        blocks={block.signature: BlockLatency(**times) for block in BLOCKS},
        calibration=Calibration(
            intercept_ms=-0.2, slope=1.1, cold_share=0.5, networks=[NetworkLatency(sum_ms=1.0, measured_ms=2.0)]
        ),
    )
    return json.loads(table.to_json())


def _fitted() -> dict[str, Any]:
    return json.loads(load_table("pixel1").to_json())


def _scaled() -> dict[str, Any]:
    factor = NetworkFactor(factor=1.25, n=4, error=0.1, source="s").model_dump()
    content = _measured() | {"kind": "scaled", "network_factor": factor}
    del content["calibration"]
    return content


def _signed(content: Any) -> str:
    """As its author would sign it: what is refused is refused for what it says."""
    if isinstance(content, dict):
        rest = {key: value for key, value in content.items() if key != "sha256"}
        content = rest | {"sha256": hashlib.sha256(json.dumps(rest, sort_keys=True).encode()).hexdigest()}
    return json.dumps(content)


def _places(value: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    below = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    return [path, *(place for key, child in below for place in _places(child, (*path, key)))]


def _changed(content: dict[str, Any], rng: random.Random) -> Any:
    # As often a place of the table as one of its hundreds of block times.
    places = [place for place in _places(content) if place and place[0] != "sha256"]
    few = [place for place in places if place[0] != "blocks" or len(place) < 2]
    *above, key = list(rng.choice(rng.choice([places, few])))
    holder: Any = content
    for step in above:
        holder = holder[step]
    match rng.randrange(5):
        case 0:
            del holder[key]
        case 1 if isinstance(holder, dict):
            holder[rng.choice(["state", "figure", "surprise", "sha256", ""])] = rng.choice(ODD)
        case 2 if isinstance(holder[key], int | float) and not isinstance(holder[key], bool):
            holder[key] *= rng.choice([-1, 0, 1e-6, 1e3, 1e6, 1e300])
        case _:
            holder[key] = rng.choice(ODD)
    return content


def _refusal(path: Path) -> str:
    with pytest.raises(LatencyError) as refusal:
        LatencyTable.load(path)
    assert "\n" not in str(refusal.value)
    assert path.name in str(refusal.value)
    return str(refusal.value)


@pytest.mark.parametrize("kind", [_measured, _fitted, _scaled])
def test_a_table_changed_in_any_way_is_refused_in_one_line_or_still_predicts(
    kind: Callable[[], dict[str, Any]], tmp_path: Path
) -> None:
    path, rng, refused = tmp_path / "mine.json", random.Random(0), []
    for _ in range(120):
        path.write_text(_signed(_changed(kind(), rng)))
        try:
            table = LatencyTable.load(path)
            predictor = Predictor(table)
            predictor.check_covers(BLOCKS)
            found = predictor.predict(NETWORK)
            costs = space_costs(SPACE, predictor, 32, 10).of(SPACE.uniform("E6K7").choices)
        except LatencyError as error:
            refused.append(str(error))
            continue
        numbers = [found.low_ms, found.latency_ms, found.high_ms, *costs.values()]
        assert all(math.isfinite(number) for number in numbers)
        assert 0 <= found.low_ms <= found.latency_ms <= found.high_ms
        assert found.latency_ms > 0
        assert min(costs.values()) > 0
        assert judge(table).state in ("validated", "fitted", "unvalidated", "failed")
        assert LatencyTable.load(path).to_json()
    assert 40 < len(refused) < 120  # changes that mean something, and harmless ones
    assert all("\n" not in line and len(line) < 800 for line in refused)


@pytest.mark.parametrize("value", [0, 0.0, 1e308, 1e5, -1e-9])
def test_coefficients_that_no_device_has_are_refused(value: float, tmp_path: Path) -> None:
    content, path = _fitted(), tmp_path / "mine.json"
    content["model"]["coefficients"] = dict.fromkeys(content["model"]["coefficients"], value)
    path.write_text(_signed(content))
    assert "model.coefficients" in _refusal(path)


def test_a_coefficient_of_zero_for_all_that_a_block_has_is_refused_by_the_block(tmp_path: Path) -> None:
    content, path = _fitted(), tmp_path / "mine.json"
    zero = dict.fromkeys(content["model"]["coefficients"], 0.0)
    content["model"]["coefficients"] = zero | {"residual_elements": 1e-6}  # what a stem does not have
    path.write_text(_signed(content))
    with pytest.raises(LatencyError, match=r"prices block conv-\S+ at 0 ms, which no block takes"):
        Predictor(LatencyTable.load(path)).predict(NETWORK)


def test_a_calibration_below_all_networks_is_refused_before_a_search(tmp_path: Path) -> None:
    content, path = _measured(), tmp_path / "mine.json"
    content["calibration"]["intercept_ms"] = -100.0
    path.write_text(_signed(content))
    predictor = Predictor(LatencyTable.load(path))
    with pytest.raises(LatencyError, match=r"predicts -\S+ ms for a network"):
        predictor.predict(NETWORK)
    with pytest.raises(LatencyError, match=r"predicts -\S+ ms for the smallest network"):
        space_costs(SPACE, predictor, 32, 10)


@pytest.mark.parametrize("key", ["state", "figure", "kind", "table"])
def test_a_table_cannot_speak_for_the_gate(key: str, tmp_path: Path) -> None:
    content, path = _fitted(), tmp_path / "mine.json"
    content["validation"][key] = "validated"
    path.write_text(_signed(content))
    assert f"validation.{key}: Extra inputs are not permitted" in _refusal(path)


@pytest.mark.parametrize("created", ["yesterday", "", "2026-13-01", "2026-01-0"])
def test_a_date_that_is_none_is_refused(created: str, tmp_path: Path) -> None:
    path = tmp_path / "mine.json"
    path.write_text(_signed(_measured() | {"created": created}))
    assert "created" in _refusal(path)


def test_what_is_no_file_of_a_table_is_refused(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "folder").mkdir()
    (tmp_path / "bytes").write_bytes(b"\xff\xfe{}")
    (tmp_path / "deep").write_text("[" * 100_000 + "]" * 100_000)
    (tmp_path / "twice").write_text('{"name": "a", "name": "b"}')
    (tmp_path / "list").write_text("[]")
    with (tmp_path / "huge").open("wb") as file:
        file.truncate(100 << 20)
    for name, reason in {
        "pipe": "not a regular file",
        "folder": "directory",
        "bytes": "not UTF-8",
        "deep": "nests too deeply",
        "twice": "twice",
        "list": "expected an object",
        "huge": "too large",
    }.items():
        assert reason in _refusal(tmp_path / name)
    with pytest.raises(LatencyError, match="no latency table"):
        load_table(str(tmp_path / "missing"))
