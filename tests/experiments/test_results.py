"""The pages say what the results files say."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest
from fairnas.experiments import results
from fairnas.experiments.results import DOCS, RESULTS, tables, with_tables
from fairnas.pipeline.runs.provenance import ROOT

MARKER = re.compile(r"<!-- table: (\w+) -->")
AGAIN = "run: python -m fairnas.experiments.results tables"
PAGES = [page for page in sorted(DOCS.glob("*.md")) if MARKER.search(page.read_text())]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_pages_have_the_tables_of_the_results(page: Path) -> None:
    assert with_tables(page.read_text()) == page.read_text(), AGAIN


def test_every_table_stands_once() -> None:
    shown = [name for page in PAGES for name in MARKER.findall(page.read_text())]
    assert len(shown) == len(set(shown)) >= 12
    assert not MARKER.search((ROOT / "README.md").read_text())


def test_pictures_of_results_are_those_that_the_pages_show() -> None:
    pictures = sorted(RESULTS.glob("*.svg"))
    assert pictures
    for picture in pictures:
        assert (DOCS / picture.name).read_text() == picture.read_text(), AGAIN


def test_the_command_fills_every_page_that_has_markers(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    filled = "<!-- table: scoring_macro -->{}<!-- end -->\n"
    for name, text in {"a.md": filled.format("\n\nstale\n\n"), "b.md": filled.format(""), "c.md": "no table\n"}.items():
        (tmp_path / name).write_text(text)
    monkeypatch.setattr(results, "DOCS", tmp_path)
    tables()
    assert "paths as a tree" in (tmp_path / "a.md").read_text()
    assert (tmp_path / "a.md").read_text() == (tmp_path / "b.md").read_text()
    assert (tmp_path / "c.md").read_text() == "no table\n"
    assert (tmp_path / "search_hypervolume.svg").exists()


@pytest.mark.parametrize("name", ["cifar10_cpu", "latency_host"])
def test_results_say_what_they_were_measured_on(name: str) -> None:
    figures = json.loads((RESULTS / f"{name}.json").read_text())
    assert {"seconds", "machine", "versions", "commit", "seeds", "protocol"} <= figures.keys()


def test_results_of_published_measurements_say_whose_and_which_file() -> None:
    for fit in json.loads((RESULTS / "latency_fits.json").read_text()).values():
        assert {"n", "loo_mape", "grouped_mape", "source", "file_sha256"} <= fit.keys()
    warm_start = json.loads((RESULTS / "warm_start.json").read_text())
    assert {"protocol", "source", "machine", "versions"} <= warm_start.keys()
