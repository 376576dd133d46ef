"""A run folder that an earlier version made is found finished: what decides about each stage is what it was."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from . import tiny

BEFORE = Path(__file__).with_name("keys_of_before.json")


def decided_by(run: Path) -> dict[str, Any]:
    """What each stage's key is made of; of inputs only the names: their digests are of what this machine computed."""
    return {
        name: {"version": entry["version"], "config": entry["config"], "inputs": sorted(entry["inputs"])}
        for name, entry in tiny.manifest(run)["stages"].items()
        if name != "report"  # it shows whatever is there
    }


def test_stages_are_decided_by_what_they_were_decided_by(unbroken: Path) -> None:
    """Should this fail: raise the `VERSION` of the stage, so that it is on purpose, or take the change back."""
    before, now = json.loads(BEFORE.read_text()), decided_by(unbroken)
    assert before.keys() == now.keys()
    changed = [name for name in now if before[name] != now[name] and before[name]["version"] == now[name]["version"]]
    assert changed == []
