"""Nothing grows too large to be read: files, and what a function is given."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

from .test_imports import DOWNWARDS, ROOT

LINES, PARAMETERS = 400, 7
# Why a function takes more. Those of the command line take their options: typer reads them from the signature.
REASONS = {
    "latency_tables/block_features.py inverted_residual": "the published numbers of a layer, by their names",
    "latency_tables/warm_start.py scaled_table": "as `measure`, and what is scaled",
    "exporters/backbones/openmmlab.py __init__": "the keys of an MMDetection config",
    "exporters/checks/stated.py check_facts": "a file, and all that its passport states of it",
    "exporters/judgement.py judge_format": "two networks, images for each question, and what is known of them",
    "pipeline/data/batches.py train_batches": "all that decides a batch, by keyword",
    "pipeline/export/export.py export": "what a stage is given: settings, inputs and a workspace",
    "pipeline/latency/picks.py check_picks": "likewise",
    "pipeline/ranking/certificate.py write_certificate": "likewise",
    "experiments/detection/training.py train_and_judge": "a recipe, by keyword",
    "experiments/detection/training.py _config": "likewise",
    "experiments/scoring.py main": "a command line",
    "experiments/segmentation/__main__.py main": "a command line",
    "experiments/segmentation/experiment.py run_experiment": "a recipe, by keyword",
}


def sources() -> list[Path]:
    """Of the product and its experiments."""
    return sorted(path for package in DOWNWARDS for path in (ROOT / package).rglob("*.py"))


def takes_many(path: Path) -> Iterator[str]:
    """Functions with many parameters, besides `self`."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            given = [*node.args.posonlyargs, *node.args.args, *node.args.kwonlyargs]
            if sum(each.arg not in ("self", "cls") for each in given) > PARAMETERS:
                yield node.name


def test_no_file_is_too_long() -> None:
    assert [str(path.relative_to(ROOT)) for path in sources() if len(path.read_text().splitlines()) > LINES] == []


def test_no_function_takes_many_parameters_without_a_reason() -> None:
    commands = ROOT / "pipeline" / "cli"
    found = {
        f"{path.relative_to(ROOT)} {name}"
        for path in sources()
        if commands not in path.parents
        for name in takes_many(path)
    }
    assert found == set(REASONS)


def test_many_parameters_are_seen(tmp_path: Path) -> None:
    (tmp_path / "a.py").write_text(
        "def seven(a, b, c, d, *, e, f, g): ...\nclass A:\n    def eight(self, a, b, c, d, e, f, g, h): ...\n"
    )
    assert list(takes_many(tmp_path / "a.py")) == ["eight"]
