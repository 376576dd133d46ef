"""Names from outside never lead out of their folder."""

from pathlib import Path

import pytest
from fairnas.common.names import UnsafeNameError, inside, safe_name

UNSAFE = (
    *("../victim", "x/../../../../victim", "a/b", "a\\b", "..", ".", "", " ", ".hidden", "-rf", "C:evil"),
    *("line\nbreak", "null\0byte", "\x1b[31mred", "caf\udce9", "con", "NUL.txt", "x" * 121, "é" * 61, "end.", "end "),
    *(None, 7, ["a"], "\u202eevil"),
)


@pytest.mark.parametrize("name", UNSAFE)
def test_unsafe_names_are_refused_in_one_line(name: object) -> None:
    with pytest.raises(UnsafeNameError, match="cannot be the name of a pick") as refused:
        safe_name(name, "a pick")
    assert str(refused.value).isprintable()


@pytest.mark.parametrize("name", ["pick-1", "fairnas_c_se050", "mein Netz", "réseau", "v1.2", "x" * 120, "console"])
def test_names_that_people_use_stay(name: str) -> None:
    assert safe_name(name, "a pick") == name


def test_paths_below_a_folder(tmp_path: Path) -> None:
    run = tmp_path / "run"
    (run / "retrain" / "pick-1").mkdir(parents=True)
    assert inside(run, "retrain/pick-1", "weights") == run / "retrain" / "pick-1" / "weights"


@pytest.mark.parametrize("part", ["../victim", "retrain/../../victim", "/etc"])
def test_paths_that_lead_out_are_refused(tmp_path: Path, part: str) -> None:
    with pytest.raises(UnsafeNameError, match="leads out of"):
        inside(tmp_path, part)


def test_links_on_the_way_are_refused_and_those_above_are_not(tmp_path: Path) -> None:
    (tmp_path / "real").mkdir()
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "link").symlink_to("real")
    assert inside(tmp_path / "link", "file") == tmp_path / "link" / "file"
    (tmp_path / "real" / "latency").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(UnsafeNameError, match="is a link"):
        inside(tmp_path / "link", "latency", "table.json")
