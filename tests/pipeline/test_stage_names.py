"""What `--force` runs again: a stage and what is made from it, and nothing that cost days beside it."""

import pytest
from fairnas.pipeline.runs.stage_names import STAGES, StageKind, forced_by

MADE_FROM = {
    "latency": {"search", "picks", "export", "report"},
    "supernet": {"oneshot", "similarity", "search", "picks", "retrain", "export", "rank", "report"},
    "oneshot": {"report"},
    "similarity": {"report"},
    "search": {"picks", "export", "report"},
    "picks": {"export", "report"},
    "retrain": {"export", "report"},
    "export": {"report"},
    "rank": {"report"},
    "report": set(),
}


@pytest.mark.parametrize("kind", MADE_FROM)
def test_what_is_made_from_a_stage_is_run_again_and_nothing_else(kind: str) -> None:
    assert forced_by(kind) == {kind} | MADE_FROM[kind]


def test_stages_are_told_in_the_order_of_a_run() -> None:
    assert list(STAGES) == list(MADE_FROM)
    for kind in STAGES:
        assert all(list(STAGES).index(each) >= list(STAGES).index(kind) for each in forced_by(kind))


def test_one_stage_can_be_forced_alone() -> None:
    assert forced_by("retrain/pick-2") == {"retrain/pick-2"}


def test_stages_that_are_made_from_each_other_are_forced_together(monkeypatch: pytest.MonkeyPatch) -> None:
    """A search may train the supernet between its rounds."""
    monkeypatch.setitem(STAGES, "supernet", StageKind((), made_from=("search",)))
    assert forced_by("search") == {"search"} | forced_by("supernet")
