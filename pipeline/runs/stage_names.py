"""The stages in their order: which of them `--force` runs again, and which files they leave."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from .checkpoint_file import CHECKPOINT, previous_of

CHECKPOINTS = (CHECKPOINT, previous_of(Path(CHECKPOINT)).name)
_TIMED = ("blocks", "networks", "networks-again", "references-[0-9]")  # each aside, too, where nothing settled


@dataclass(frozen=True, slots=True)
class StageKind:
    """What is known of the stages of a kind before they are run.

    Attributes:
        own_files: patterns of what it leaves in its folder, finished or not: the user may keep files that are called
            almost so.
        made_from: kinds that it is made from, so that it is run again when they are forced.
        made_from_all: whether it is made from all others.
        lines: the file of lines that grow, beside which lie their digests.
    """

    own_files: tuple[str, ...]
    made_from: tuple[str, ...] = ()
    made_from_all: bool = False
    lines: str | None = None


# A table that is measured again costs nobody a supernet, and networks are trained again where the picks differ.
STAGES: dict[str, StageKind] = {
    "latency": StageKind(
        (
            *(name + ending for name in _TIMED for ending in (".jsonl", ".unsteady.jsonl")),
            *("table.json", "validation.json"),
        )
    ),
    "supernet": StageKind(("metrics.jsonl", "weights.safetensors", "fairness.json")),
    "oneshot": StageKind(("scores.json",), made_from=("supernet",)),
    "similarity": StageKind(("similarity.json", "feature_maps.png"), made_from=("supernet",)),
    "search": StageKind(
        (
            *("state.json", "study.db", "study.db-journal", "study.db-wal", "study.db-shm"),
            *("pareto.csv", "picks.json", "history.json"),
        ),
        made_from=("latency", "supernet"),
        lines="scores.jsonl",
    ),
    "picks": StageKind(
        ("picks.jsonl", "picks-int8.jsonl", "picks.json", "measured.json", "table.json"),
        made_from=("latency", "search"),
    ),
    "retrain": StageKind(("metrics.jsonl", "weights.safetensors", "result.json"), made_from=("supernet",)),
    "export": StageKind(
        (
            *("passport.json", "passport.html", "SHA256SUMS", "SHA256SUMS.sig"),
            *(f".tuning/{name}" for name in ("metrics.jsonl", "weights.safetensors", *CHECKPOINTS)),
        ),
        made_from=("picks", "retrain"),
    ),
    "rank": StageKind(("scores.csv", "certificate.json"), made_from=("supernet",), lines="journal.jsonl"),
    "report": StageKind(("index.html",), made_from_all=True),
}
"""By their names, which are those of their files in `stages/` and of their folders in a run."""


def kind_of(stage: str) -> StageKind | None:
    """What is known of a stage such as `search` or `retrain/pick-1`; None of a kind that this version does not have."""
    return STAGES.get(stage.split("/")[0])


def forced_by(asked: str) -> set[str]:
    """Stages that are run again, whatever they have.

    Args:
        asked: a kind of stage, which means all of it and what is made from it; or one stage such as `retrain/pick-2`,
            which means that one: what is made from it follows where its results differ.
    """
    if "/" in asked:
        return {asked}
    forced, waiting = set[str](), [asked]
    while waiting:
        kind = waiting.pop()
        if kind not in forced:
            forced.add(kind)
            waiting += [name for name, each in STAGES.items() if each.made_from_all or kind in each.made_from]
    return forced
