"""What the search picked is measured: late ones make way, measurements improve the table, and all is written down."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from fairnas.latency_tables import LatencyTable, Plan, Predictor, Rounds, profile_space
from fairnas.models import Architecture, Block, Task, get_space
from fairnas.pipeline.console import console
from fairnas.pipeline.errors import UserError
from fairnas.pipeline.latency import picks as picks_of
from fairnas.pipeline.latency.picks import OUTPUTS, check_picks
from fairnas.pipeline.runs.run import Workspace
from fairnas.pipeline.search.archive import Archive, Scored
from fairnas.pipeline.search.limits import Limit
from fairnas.pipeline.search.picks import pick_evenly

from ..latency_tables.simulated import Simulated

SPACE = get_space("b").scaled(0.25)
ONCE = Rounds(1, 1)


def blocks_of(architecture: Architecture) -> Sequence[Block]:
    return SPACE.blocks(architecture, 32, 10)


@pytest.fixture(scope="module")
def table() -> LatencyTable:
    return profile_space(Simulated(), SPACE, Task(32, 10), Plan(ONCE, calibration=5, validation=12))


@pytest.fixture(scope="module")
def limit_ms(table: LatencyTable) -> float:
    """What two thirds of the largest network's latency is: some of what was searched is above."""
    smallest, largest = (
        Predictor(table).predict(blocks_of(SPACE.uniform(choice))).latency_ms for choice in ("E3K3", "E6K7")
    )
    return smallest + 0.6 * (largest - smallest)


@pytest.fixture
def searched(table: LatencyTable, limit_ms: float, tmp_path: Path) -> Path:
    """A finished search of 40 architectures, of which larger ones are more accurate, and its 3 picks."""
    predictor, rng = Predictor(table), np.random.default_rng(0)
    archive = Archive({"accuracy": "maximize", "latency_ms": "minimize"}, {"latency_ms": limit_ms})
    for size in np.linspace(0, 5, 40):
        genome = tuple(int(gene) for gene in np.clip(rng.normal(size, 1, len(SPACE.layers)).round(), 0, 5))
        architecture = SPACE.architecture(genome)
        latency_ms = predictor.predict(blocks_of(architecture)).latency_ms
        cost = SPACE.cost(architecture, 32, 10)
        values = {
            "accuracy": latency_ms / 100 + rng.normal(0, 0.001),
            "latency_ms": latency_ms,
            "madds": cost.madds,
            "params": cost.params,
        }
        archive.members.append(Scored(genome, str(architecture), 0, values, False))
    latencies = np.array([member.values["latency_ms"] for member in archive.members])
    chosen = [archive.members[place] for place in pick_evenly(archive.minimised(), archive.violations(), latencies, 3)]
    picks = [
        {"name": f"pick-{place}", "architecture": member.architecture, "extrapolated": False, **member.values}
        for place, member in enumerate(chosen, start=1)
    ]
    (tmp_path / "search").mkdir()
    (tmp_path / "search" / "pareto.csv").write_text(archive.to_csv())
    (tmp_path / "search" / "picks.json").write_text(json.dumps(picks))
    return tmp_path / "search"


@pytest.fixture
def check(searched: Path, table: LatencyTable, limit_ms: float, tmp_path: Path) -> Callable[..., Path]:
    """Measure the picks on a device; the folder of what was written."""

    def run(device: Simulated | None, limit: float | None = limit_ms, priced_by: LatencyTable = table) -> Path:
        folder = tmp_path / "picks"
        folder.mkdir(exist_ok=True)
        absolute = None if limit is None else Limit("latency_ms", limit)
        check_picks(searched, absolute, priced_by, blocks_of, device, ONCE, Workspace(folder))
        raw_samples = {"picks.jsonl"} if device else set()
        assert {path.name for path in folder.iterdir()} == {*OUTPUTS, *raw_samples}
        return folder

    return run


def read(path: Path) -> Any:
    return json.loads(path.read_text())


def slow(factors: dict[str, float]) -> Simulated:
    """A device that takes longer for some networks than their blocks say; not the table's, which stays as it is."""
    return Simulated(build="2", factor=lambda name, _: factors.get(name, 1.0))


def test_picks_that_keep_the_limit_are_kept_with_what_was_measured(
    check: Callable[..., Path], searched: Path, limit_ms: float
) -> None:
    folder = check(Simulated())
    before, picks = read(searched / "picks.json"), read(folder / "picks.json")
    assert [pick["architecture"] for pick in picks] == [pick["architecture"] for pick in before]
    for pick in picks:
        assert pick["measured_ms"] <= limit_ms
        assert pick["latency_low_ms"] <= pick["latency_ms"] <= pick["latency_high_ms"]
        assert pick["measured_ms"] == pytest.approx(pick["latency_ms"], rel=0.01)
    measured = read(folder / "measured.json")
    assert measured["device"] == Simulated().fingerprint()
    assert measured["limit_ms"] == limit_ms
    assert measured["dropped"] == []
    assert measured["timings"].keys() == {pick["architecture"] for pick in picks}


def test_a_late_pick_makes_way_for_the_next_one_on_the_front(
    check: Callable[..., Path], searched: Path, limit_ms: float
) -> None:
    before = read(searched / "picks.json")
    late = before[-1]
    folder = check(slow({late["architecture"]: 1.5}))
    picks, measured = read(folder / "picks.json"), read(folder / "measured.json")
    assert [pick["name"] for pick in picks] == ["pick-1", "pick-2", "pick-3"]
    assert [pick["latency_ms"] for pick in picks] == sorted(pick["latency_ms"] for pick in picks)
    assert measured["dropped"] == [late["architecture"]]
    assert measured["timings"][late["architecture"]]["latency_ms"] > limit_ms
    (new,) = {pick["architecture"] for pick in picks} - {pick["architecture"] for pick in before}
    rows = {line.split(",")[0]: line.split(",") for line in (searched / "pareto.csv").read_text().splitlines()[1:]}
    header = (searched / "pareto.csv").read_text().splitlines()[0].split(",")
    assert rows[new][header.index("on_front")] == "1"
    assert float(rows[new][header.index("latency_ms")]) < late["latency_ms"]
    entered = next(pick for pick in picks if pick["architecture"] == new)
    assert entered.keys() == picks[0].keys()
    assert {"accuracy", "madds", "params", "measured_ms", "extrapolated"} <= entered.keys()
    # The best of those: no other of the front that is faster is more accurate.
    free = [
        float(row[header.index("accuracy")])
        for name, row in rows.items()
        if row[header.index("on_front")] == "1"
        and float(row[header.index("latency_ms")]) < late["latency_ms"]
        and name not in {pick["architecture"] for pick in before}
    ]
    assert entered["accuracy"] == max(free)


def test_a_pick_that_was_only_disturbed_is_looked_at_again(check: Callable[..., Path], searched: Path) -> None:
    """Times of the first round are doubled: as if something else had been using the device then."""
    before = read(searched / "picks.json")
    folder = check(Simulated(factor=lambda _, number: 2.0 if number == 0 else 1.0))
    assert [p["architecture"] for p in read(folder / "picks.json")] == [p["architecture"] for p in before]
    assert read(folder / "measured.json")["dropped"] == []


def test_the_median_as_limit_follows_the_calibration(
    searched: Path, table: LatencyTable, limit_ms: float, tmp_path: Path
) -> None:
    """A quarter slower in all: no network is late beside the median one, which is slower too."""
    device = Simulated(factor=lambda *_: 1.25)
    check_picks(
        searched, Limit("latency_ms", limit_ms, is_relative=True), table, blocks_of, device, ONCE, Workspace(tmp_path)
    )
    measured = read(tmp_path / "measured.json")
    assert limit_ms < measured["limit_ms"] <= 1.3 * limit_ms
    assert len(read(tmp_path / "picks.json")) == 3


def test_a_dropped_pick_is_told(check: Callable[..., Path], searched: Path) -> None:
    late = read(searched / "picks.json")[-1]["architecture"]
    with console.capture() as captured:
        check(slow({late: 1.5}))
    (said,) = [line for line in captured.get().splitlines() if line.startswith("dropped")]
    assert said.startswith(f"dropped {late}: predicted ")
    assert "over the limit of" in said


def test_measurements_correct_the_calibration(check: Callable[..., Path], table: LatencyTable) -> None:
    """A device that became a quarter slower since its table was made: the table that is kept has learnt it."""
    folder = check(Simulated(factor=lambda name, _: 1.25), limit=None)
    corrected = LatencyTable.load(folder / "table.json")
    assert table.calibration
    assert corrected.calibration
    assert corrected.blocks == table.blocks
    assert len(corrected.calibration.networks) == len(table.calibration.networks) + 3
    picks = read(folder / "picks.json")
    for pick in picks:
        architecture = Architecture.parse(pick["architecture"])
        before = Predictor(table).predict(blocks_of(architecture)).latency_ms
        assert abs(pick["latency_ms"] - pick["measured_ms"]) < abs(before - pick["measured_ms"])
        assert Predictor(corrected).predict(blocks_of(architecture)).latency_ms == pytest.approx(pick["latency_ms"])


def test_measurements_of_another_device_leave_the_table_as_it_is(
    check: Callable[..., Path], table: LatencyTable
) -> None:
    folder = check(Simulated(build="2"))
    assert LatencyTable.load(folder / "table.json") == table
    assert all("measured_ms" in pick for pick in read(folder / "picks.json"))


def test_without_a_limit_nothing_is_dropped(check: Callable[..., Path], searched: Path) -> None:
    late = read(searched / "picks.json")[-1]["architecture"]
    folder = check(slow({late: 10.0}), limit=None)
    assert read(folder / "measured.json")["dropped"] == []
    assert late in {pick["architecture"] for pick in read(folder / "picks.json")}


def test_when_every_pick_is_late_one_line_says_so(check: Callable[..., Path], limit_ms: float) -> None:
    with pytest.raises(UserError) as refusal:
        check(Simulated(factor=lambda *_: 100.0))
    assert f"every pick takes longer than {limit_ms:.3g} ms when it is measured on a simulated phone" in str(
        refusal.value
    )
    assert "\n" not in str(refusal.value)


def test_without_a_device_picks_stay_and_get_their_intervals(
    check: Callable[..., Path], searched: Path, table: LatencyTable
) -> None:
    folder = check(None)
    before, picks = read(searched / "picks.json"), read(folder / "picks.json")
    new = ("latency_low_ms", "latency_high_ms", "limit_chance")
    assert [{key: value for key, value in pick.items() if key not in new} for pick in picks] == before
    for pick in picks:
        prediction = Predictor(table).predict(blocks_of(Architecture.parse(pick["architecture"])))
        assert (pick["latency_low_ms"], pick["latency_high_ms"]) == (prediction.low_ms, prediction.high_ms)
    assert read(folder / "measured.json") == {}
    assert LatencyTable.load(folder / "table.json") == table


def test_every_name_of_the_upper_end_is_corrected(
    check: Callable[..., Path], searched: Path, table: LatencyTable
) -> None:
    """A search that aimed at it left the upper end that its own table gave."""
    before = read(searched / "picks.json")
    (searched / "picks.json").write_text(json.dumps([pick | {"latency_upper_ms": 1e3} for pick in before]))
    # Everything takes a tenth longer than the table says: the line moves with what is measured.
    folder = check(Simulated(factor=lambda *_: 1.1), None)
    improved = Predictor(LatencyTable.load(folder / "table.json"))
    for pick in read(folder / "picks.json"):
        blocks = blocks_of(Architecture.parse(pick["architecture"]))
        prediction = improved.predict(blocks)
        assert pick["latency_upper_ms"] == pick["latency_high_ms"] == prediction.high_ms
        assert pick["latency_low_ms"] == prediction.low_ms
        assert prediction.high_ms > Predictor(table).predict(blocks).high_ms


def test_what_did_not_settle_does_not_correct_the_table(
    searched: Path, table: LatencyTable, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "picks").mkdir()
    busy = Simulated(factor=lambda *_: 1.5, others=lambda *_: 0.6)
    check_picks(searched, None, table, blocks_of, busy, Rounds(3, 6), Workspace(tmp_path / "picks"))
    assert LatencyTable.load(tmp_path / "picks" / "table.json") == table
    timings = read(tmp_path / "picks" / "measured.json")["timings"]
    assert all(timing["settled"] is False and timing["disturbed"] == 1 for timing in timings.values())
    assert "did not settle in 6 rounds, 100% of them disturbed" in capsys.readouterr().err.replace("\n", " ")


def test_what_was_kept_is_judged_again_where_the_limit_moved(
    searched: Path, table: LatencyTable, limit_ms: float, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The largest pick is late at once; the limit that its replacement leaves is below the middle one's latency."""
    _, middle, largest = read(searched / "picks.json")
    lower = 0.9 * middle["latency_ms"]
    limits = iter([limit_ms])
    monkeypatch.setattr(picks_of, "under", lambda limit, *_: replace(limit, value=next(limits, lower)))
    (tmp_path / "picks").mkdir()
    device = Simulated(factor=lambda name, _: 1.5 if name == largest["architecture"] else 1.0)
    relative = Limit("latency_ms", limit_ms, is_relative=True)
    with console.capture() as captured:
        check_picks(searched, relative, table, blocks_of, device, ONCE, Workspace(tmp_path / "picks"))
    picks, measured = read(tmp_path / "picks" / "picks.json"), read(tmp_path / "picks" / "measured.json")
    assert {middle["architecture"], largest["architecture"]} <= set(measured["dropped"])
    assert (measured["limit_ms"], measured["quantity"]) == (lower, "latency_ms")
    assert picks
    assert all(pick["measured_ms"] <= lower for pick in picks)
    assert "exceeded" not in captured.get()
    # What was late under an earlier limit is told by that one.
    assert f"over the limit of {limit_ms:.3g} ms" in captured.get()
