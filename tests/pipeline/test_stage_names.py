"""What `--force` runs again: a stage and what is made from it, and nothing that cost days beside it."""

import pytest
from fairnas.pipeline.runs.stage_names import STAGES, forced_by


def test_a_table_measured_again_costs_nobody_a_supernet() -> None:
    assert forced_by("latency").isdisjoint({"supernet", "oneshot", "similarity", "retrain", "rank"})
    assert {"search", "picks", "export", "report"} <= forced_by("latency")


@pytest.mark.parametrize("kind", STAGES)
def test_what_is_made_from_a_stage_comes_after_it(kind: str) -> None:
    assert all(STAGES.index(each) >= STAGES.index(kind) for each in forced_by(kind))
    assert kind == "report" or "report" in forced_by(kind)
    # What is made from what is made from it, too.
    assert all(forced_by(each) <= forced_by(kind) for each in forced_by(kind))


def test_one_stage_can_be_forced_alone(tmp_path) -> None:
    assert forced_by("retrain/pick-2") == {"retrain/pick-2"}
