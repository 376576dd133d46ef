"""`picks.json` of a stranger: each kind of forgery is one line."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from fairnas.common.errors import FairnasError
from fairnas.models import get_space
from fairnas.pipeline.runs.picks_file import is_pick, read_picks

SOUND = {
    "name": "pick-1",
    "architecture": str(get_space("b").uniform("E3K3")),
    "accuracy": 0.5,
    "latency_ms": 3.0,
    "latency_low_ms": 2.0,
    "latency_high_ms": 4.0,
    "madds": 1000,
}


def test_sound_picks_are_read(tmp_path: Path) -> None:
    path = tmp_path / "picks.json"
    path.write_text(json.dumps([SOUND, SOUND | {"name": "pick-2"}]))
    assert [row["name"] for row in read_picks(path, "b")] == ["pick-1", "pick-2"]


@pytest.mark.parametrize(
    "picks",
    [
        {},
        [],
        None,
        "pick-1",
        {"pick-1": SOUND},
        [SOUND, 3],
        [SOUND, SOUND],
        *([SOUND | {"name": name}] for name in ("../../../../victim", "pick-1/../../x", "", None, 3, "x", "pick-1\n")),
        *([SOUND | {"architecture": text}] for text in ("nonsense", None, 3, "b:E3K3", "timm:resnet18")),
        [SOUND | {"architecture": str(get_space("a").uniform("E3K3"))}],
        *(
            [SOUND | {quantity: value}]
            for quantity in ("accuracy", "latency_low_ms", "madds")
            for value in (None, "x", True)
        ),
        [{name: value for name, value in SOUND.items() if name != "latency_ms"}],
    ],
)
def test_forged_picks_are_one_line(picks: Any, tmp_path: Path) -> None:
    path = tmp_path / "picks.json"
    path.write_text(json.dumps(picks))
    with pytest.raises(FairnasError, match=r"picks\.json is damaged .*--force search") as error:
        read_picks(path, "b")
    assert str(error.value).isprintable()


def test_only_the_searchs_own_names_are_picks() -> None:
    assert is_pick("pick-1")
    assert is_pick("pick-12")
    assert not is_pick("pick-n-place-fairnas_a")
    assert not is_pick("pick-fairnas_a")
    assert not is_pick("pick-1-fairnas_a")
