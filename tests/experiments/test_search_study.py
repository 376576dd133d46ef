"""The tabular study on a small table with the files' form."""

from __future__ import annotations

import csv
import itertools
import json
from pathlib import Path

import numpy as np
import pytest
from fairnas.experiments.search.study import (
    ABLATION,
    ALGORITHMS,
    BASELINES,
    DEFAULT_RESULTS,
    OURS,
    holm,
    main,
    search_table,
    settings_of,
    to_markdown,
)
from fairnas.experiments.search.tabular import LATENCY, TRUTH, read_nasbench201


@pytest.fixture
def tables(tmp_path: Path) -> Path:
    """4 edges of 3 operations, in any order, with made-up numbers."""
    rng = np.random.default_rng(0)
    names = ["".join(genome) for genome in itertools.product("012", repeat=4)]
    rng.shuffle(names)
    costs = np.array([[int(digit) for digit in name] for name in names]).sum(axis=1) + rng.random(81)
    truth = [
        {"arch": n, "c10_test_200": 60 + 3 * c, "c100_test_200": 40 + c, "params_m": c + 1, "conv_mflops": 9 * c + 1}
        for n, c in zip(names, costs, strict=True)
    ]
    latency = [
        {"arch": n, "pixel3": 1 + abs(4 - c), "raspi4": 2 + (c - 3) ** 2} for n, c in zip(names, costs, strict=True)
    ]
    for path, rows in ((TRUTH, truth), (LATENCY, latency)):
        (tmp_path / path).parent.mkdir()
        with (tmp_path / path).open("w", newline="") as file:
            writer = csv.DictWriter(file, list(rows[0]))
            writer.writeheader()
            writer.writerows(rows)
    return tmp_path


def test_whoever_finds_all_has_all_the_hypervolume(tables: Path) -> None:
    task = read_nasbench201(tables, "c10_test_200", "pixel3")
    shares, best = search_table(task, settings_of("random", 27), seed=0, evaluations=81)
    assert len(shares) == 3
    assert shares[-1] == pytest.approx(1.0)
    assert (np.diff(shares) >= 0).all()
    assert best[-1] == pytest.approx(-task.objectives[:, 0].min())


def test_the_study_writes_figures_a_plot_and_tables(tables: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tables / "out.json"
    arguments = ["--data", str(tables), "--out", str(out), "--seeds", "2", "--evaluations", "30", "--population", "10"]
    assert main(arguments) == 0
    figures = json.loads(out.read_text())
    assert {"seconds", "machine", "versions", "commit", "seeds", "protocol", "source"} <= figures.keys()
    for task in (figures, figures["held_out"]):
        assert set(task["algorithms"]) == set(ALGORITHMS)
        for found in task["algorithms"].values():
            assert found["low"] <= found["mean"] <= found["high"]
            assert found["mean"] == pytest.approx(np.mean(found["at_each_seed"]), abs=1e-5)
            assert [point["evaluations"] for point in found["curve"]] == [10, 20, 30]
        for claim in ("not_inferior", "ahead"):
            assert set(task["tests"][claim]) == set(BASELINES)
    assert out.with_suffix(".svg").read_text().startswith("<?xml")
    assert to_markdown(figures) in capsys.readouterr().out
    first = out.with_suffix(".svg").read_bytes(), figures["algorithms"][OURS]["at_each_seed"]
    assert main(arguments) == 0
    again = json.loads(out.read_text())
    assert (out.with_suffix(".svg").read_bytes(), again["algorithms"][OURS]["at_each_seed"]) == first


def test_the_ablation_differs_from_ours_in_the_controller_alone() -> None:
    ours, ablation = settings_of(OURS, 64).model_dump(), settings_of(ABLATION, 64).model_dump()
    ours_mutation, theirs = ours.pop("hierarchical_mutation"), ablation.pop("hierarchical_mutation")
    assert ours == ablation
    assert theirs["reinforced"] == 0
    assert theirs["random"] == ours_mutation["random"] + ours_mutation["reinforced"]
    assert {k: v for k, v in ours_mutation.items() if k not in ("random", "reinforced")} == {
        k: v for k, v in theirs.items() if k not in ("random", "reinforced")
    }


def test_holms_correction() -> None:
    # Holm's procedure by hand: 0.01 * 4, 0.02 * 3, then 0.03 * 2 = 0.06 and 0.5 * 1.
    assert holm([0.03, 0.01, 0.5, 0.02]) == pytest.approx([0.06, 0.04, 0.5, 0.06])
    assert holm([0.04, 0.03]) == pytest.approx([0.06, 0.06])
    assert holm([0.9, 0.8]) == [1.0, 1.0]


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (lambda rows: rows.pop(), "do not list the same architectures"),
        (lambda rows: rows[0].pop("c10_test_200"), "lacks a column or holds no number"),
        (lambda rows: rows[0].update(c10_test_200="nan"), "does not hold all 81 architectures"),
    ],
)
def test_tables_that_cannot_be_used_are_refused_in_one_line(
    tables: Path, spoil, message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with (tables / TRUTH).open(newline="") as file:
        rows = list(csv.DictReader(file))
    columns = list(rows[0])
    spoil(rows)
    with (tables / TRUTH).open("w", newline="") as file:
        writer = csv.DictWriter(file, columns)
        writer.writeheader()
        writer.writerows(rows)
    assert main(["--data", str(tables), "--out", str(tables / "out.json")]) == 2
    error = capsys.readouterr().err.strip()
    assert message in error
    assert "\n" not in error
    assert not (tables / "out.json").exists()


@pytest.mark.skipif(not DEFAULT_RESULTS.exists(), reason="results/search_hypervolume.json is not there")
def test_the_published_study_holds_what_it_promises() -> None:
    figures = json.loads(DEFAULT_RESULTS.read_text())
    assert figures["evaluations"] == 1088
    assert figures["seeds"] >= 10
    assert figures["architectures"] == 15625
    for task in (figures, figures["held_out"]):
        assert all(test["holds_at_5_percent"] for test in task["tests"]["not_inferior"].values())
        assert task["tests"]["ahead"]["random"]["holds_at_5_percent"]
    assert DEFAULT_RESULTS.with_suffix(".svg").exists()
