"""The README says what the results files say."""

from __future__ import annotations

import json
import re

import pytest
from fairnas.experiments.results import README, RESULTS, with_tables
from fairnas.pipeline.runs.provenance import ROOT


def test_the_readme_has_the_tables_of_the_results() -> None:
    assert with_tables(README.read_text()) == README.read_text(), "run: python -m fairnas.experiments.results readme"


def test_pictures_and_files_that_the_readme_links_to_exist() -> None:
    links = re.findall(r"\]\((?!http)([^)#]+)\)", README.read_text())
    assert links
    assert [link for link in links if not (ROOT / link).exists()] == []


@pytest.mark.parametrize("name", ["cifar10_cpu", "latency_host"])
def test_results_say_what_they_were_measured_on(name: str) -> None:
    figures = json.loads((RESULTS / f"{name}.json").read_text())
    assert {"seconds", "machine", "versions", "commit", "seeds", "protocol"} <= figures.keys()


def test_results_of_published_measurements_say_whose_and_which_file() -> None:
    for fit in json.loads((RESULTS / "latency_fits.json").read_text()).values():
        assert {"n", "loo_mape", "grouped_mape", "source", "file_sha256"} <= fit.keys()
    warm_start = json.loads((RESULTS / "warm_start.json").read_text())
    assert {"protocol", "source", "machine", "versions"} <= warm_start.keys()
