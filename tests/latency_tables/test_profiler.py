"""Profiling: blocks and networks of a space, into a table that knows how well it predicts."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from fairnas.latency_tables import (
    HostDevice,
    LatencyError,
    LatencyTable,
    Places,
    Plan,
    Predictor,
    Progress,
    Rounds,
    calibration_networks,
    check_on_networks,
    judge,
    measure_networks,
    profile_blocks,
    profile_network,
    profile_space,
    unsteady,
    validation_networks,
)
from fairnas.latency_tables.references import COUNT
from fairnas.models import PUBLISHED, Block, Task, get_space

from .simulated import NETWORK_INTERCEPT_MS, NETWORK_SLOPE, Simulated

SPACE = get_space("b").scaled(0.25)
SIZE = Task(32, 10)
ONCE = Rounds(1, 1)
MOMENTS = [f"references-{moment}.jsonl" for moment in (1, 2, 3, 4)]
JOURNALS = ["blocks.jsonl", "networks-again.jsonl", "networks.jsonl", *MOMENTS]


@dataclass
class Bars:
    """Progress bars that remember how far they came."""

    reached: dict[str, tuple[int, int]] = field(default_factory=dict)

    @contextmanager
    def __call__(self, title: str) -> Iterator[Progress]:
        def show(done: int, total: int) -> None:
            self.reached[title] = done, total

        yield show


def test_a_space_is_profiled_calibrated_and_validated(tmp_path: Path) -> None:
    bars, plan = Bars(), Plan(ONCE, calibration=6, validation=12)
    device = Simulated()
    table = profile_space(device, SPACE, SIZE, plan, Places(tmp_path, bars))
    assert table.device == device.fingerprint()
    assert table.blocks.keys() == {block.signature for block in SPACE.all_blocks(*SIZE)}
    assert table.calibration
    assert table.calibration.intercept_ms == pytest.approx(NETWORK_INTERCEPT_MS, abs=0.05)
    assert table.calibration.slope == pytest.approx(NETWORK_SLOPE, rel=0.02)
    assert len(table.calibration.networks) == 6
    assert table.validation
    assert table.validation.n == 12
    assert table.validation.mape is not None
    assert table.validation.mape < 0.001
    assert table.validation.remeasure_spearman == 1
    assert judge(table).state == "validated"
    assert sorted(path.name for path in tmp_path.iterdir()) == JOURNALS
    # The blocks are that many, and so are the networks, which do not overlap, those that are measured again, and the
    # references: at the start, between, and at the end.
    blocks = len(table.blocks)
    assert len(device.taken) == blocks + (6 + 12) + 12 + 4 * COUNT
    assert table.steadiness
    assert table.steadiness.moved == 0
    assert [len(times) for times in table.steadiness.references_ms.values()] == [4] * COUNT
    assert set(bars.reached) == {"blocks", "networks"}
    assert bars.reached["blocks"] == (blocks, blocks)
    # With its journals, the same profile takes no sample.
    again = Simulated()
    repeated = profile_space(again, SPACE, SIZE, plan, Places(tmp_path))
    assert again.taken == []
    assert repeated.model_copy(update={"created": table.created}) == table


def test_a_space_is_profiled_on_this_host_in_8_bits(tmp_path: Path) -> None:
    few = [block for block in SPACE.all_blocks(*SIZE) if block.kind != "mbconv"][:3]
    blocks = [*few, *SPACE.blocks(SPACE.uniform("E3K3"), *SIZE)[2:5]]
    tables = {
        precision: profile_blocks(HostDevice(), blocks, Rounds(3, 3), precision=precision)
        for precision in ("fp32", "int8")
    }
    assert {precision: table.precision for precision, table in tables.items()} == {"fp32": "fp32", "int8": "int8"}
    assert {table.name for table in tables.values()} == {"host", "host-int8"}
    assert tables["fp32"].blocks.keys() == tables["int8"].blocks.keys()
    tables["int8"].save(tmp_path / "table.json")
    assert LatencyTable.load(tmp_path / "table.json") == tables["int8"]
    device = Simulated()
    profile_blocks(device, blocks, ONCE, precision="int8")
    assert device.verified == len(tables["int8"].blocks)


def test_a_space_is_profiled_on_this_host_end_to_end(tmp_path: Path) -> None:
    device, plan = HostDevice(), Plan(Rounds(3, 3), calibration=5, validation=10)
    table = profile_space(device, SPACE, SIZE, plan, Places(tmp_path))
    assert table.device == device.fingerprint()
    assert table.calibration
    assert table.validation
    assert table.validation.n == 10
    assert table.validation.mape is not None
    assert table.steadiness
    assert len(table.steadiness.references_ms) == COUNT
    if not unsteady(table):  # other work on the machine must not fail a test
        assert table.validation.mape < 0.5
        # Most validation networks are many blocks larger than others, which any table sees.
        assert table.validation.spearman is not None
        assert table.validation.spearman > 0.3
        largest, smallest = (
            Predictor(table).predict(SPACE.blocks(SPACE.uniform(choice), *SIZE)).latency_ms
            for choice in ("E6K7", "E3K3")
        )
        assert largest > smallest
        assert profile_space(device, SPACE, SIZE, plan, Places(tmp_path)).blocks == table.blocks


@pytest.mark.parametrize("name", ["fairnas_a_se", "fairnas_a_se_hswish"])
def test_a_network_with_squeeze_and_excitation_is_profiled_with_relatives_that_have_it(name: str) -> None:
    space, architecture = get_space("a").scaled(0.25), PUBLISHED[name]
    device = Simulated()
    table = profile_network(device, space, architecture, SIZE, Plan(ONCE, calibration=5, validation=30))
    blocks = space.blocks(architecture, *SIZE)
    Predictor(table).check_covers(blocks)
    assert table.calibration
    assert len(table.calibration.networks) == 5
    assert table.validation is None
    assert {block.split("-")[-1] for block in table.blocks if "-se" in block} == {blocks[2].activation}
    (alone,) = measure_networks(device, {"it": blocks}, ONCE).values()
    assert Predictor(table).predict(blocks).latency_ms == pytest.approx(alone.latency_ms, rel=0.01)
    bare = profile_network(device, space, architecture, SIZE, Plan(ONCE, calibration=0))
    assert bare.calibration is None
    assert bare.blocks.keys() == {block.signature for block in blocks}


def test_validation_networks_of_a_profile_are_not_those_of_its_calibration(monkeypatch: pytest.MonkeyPatch) -> None:
    """Even where the candidates for both are few: the extremes are always among them."""
    from fairnas.latency_tables import profiler

    seen: dict[str, set[str]] = {}

    def recorded(device: object, table: LatencyTable, calibration: list, validation: list, *_: object, **__: object):
        for name, networks in (("calibration", calibration), ("validation", validation)):
            seen[name] = {" ".join(block.signature for block in blocks) for blocks in networks}
        return table

    monkeypatch.setattr(profiler, "check_on_networks", recorded)
    profile_space(Simulated(), SPACE, SIZE, Plan(ONCE, calibration=10, validation=60))
    assert len(seen["calibration"]) == 10
    assert len(seen["validation"]) == 60
    assert not seen["calibration"] & seen["validation"]


def test_what_cannot_be_profiled_is_refused_in_one_line() -> None:
    with pytest.raises(LatencyError, match="no block"):
        profile_blocks(Simulated(), [], ONCE)
    networks = [SPACE.blocks(architecture, *SIZE) for architecture in calibration_networks(SPACE, 2)]
    table = profile_blocks(Simulated(), [block for blocks in networks for block in blocks], ONCE)
    with pytest.raises(LatencyError, match="measured on another device or runtime: measure it again"):
        check_on_networks(Simulated(build="2"), table, networks, [], ONCE)


def test_blocks_of_equal_signature_are_measured_once() -> None:
    device = Simulated()
    block, other = Block("conv", 3, 4, 8, 2, 3), Block("conv", 3, 8, 8, 2, 3)
    table = profile_blocks(device, [block, other, block], ONCE)
    assert list(table.blocks) == [block.signature, other.signature]
    assert len(device.taken) == 2


def test_unvalidated_profiles_say_so() -> None:
    table = profile_space(Simulated(), SPACE, SIZE, Plan(ONCE, calibration=3, validation=0))
    assert table.validation is None
    assert judge(table).state == "unvalidated"
    assert len(validation_networks(SPACE, Predictor(table), 1, resolution=32, num_classes=10)) == 1
