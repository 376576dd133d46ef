"""The README says what the results files say."""

from __future__ import annotations

import json
import re

import pytest
from fairnas.pipeline.provenance import ROOT
from fairnas.pipeline.results import README, RESULTS, with_tables


def test_the_readme_has_the_tables_of_the_results() -> None:
    assert with_tables(README.read_text()) == README.read_text(), "run: python -m fairnas.pipeline.results readme"


def test_pictures_and_files_that_the_readme_links_to_exist() -> None:
    links = re.findall(r"\]\((?!http)([^)#]+)\)", README.read_text())
    assert links
    assert [link for link in links if not (ROOT / link).exists()] == []


@pytest.mark.parametrize("path", sorted(RESULTS.glob("*.json")), ids=lambda path: path.stem)
def test_results_say_what_they_were_measured_on(path: object) -> None:
    figures = json.loads((RESULTS / str(path)).read_text())
    assert {"seconds", "machine", "versions", "commit", "seeds", "protocol"} <= figures.keys()
