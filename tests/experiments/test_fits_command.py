"""The command that fits the shipped tables, and what the shipped tables say of themselves."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest
from fairnas.experiments.latency_fits import fbnet32, pixel1
from fairnas.experiments.latency_fits.__main__ import RESULTS, TABLES, main
from fairnas.experiments.latency_fits.fitting import fit_model, usual_features
from fairnas.experiments.latency_fits.markdown import latency_fits_markdown
from fairnas.experiments.latency_fits.shipped import SHIPPED
from fairnas.latency_tables import LatencyTable, load_table

from . import published_files as files

NAMES = ["pixel1", "note10", "pixel3", "rpi4"]


def _run(folder: Path, table: str) -> int:
    return main([table, "--data", str(folder), "--tables", str(folder / "tables"), "--results", str(folder / "r.json")])


def test_the_command_fits_a_table_that_prices_what_it_was_made_from(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    files.write_all(tmp_path)
    assert _run(tmp_path, "pixel3") == 0
    printed = capsys.readouterr().out
    assert "pixel3: 66 measurements, error of the fit 0.00%" in printed
    assert "7 NAS-Bench-201 networks: Spearman 1.000" in printed
    table = LatencyTable.load(tmp_path / "tables" / "pixel3.json")
    assert table.model
    for m in fbnet32.without_groups(fbnet32.read(tmp_path, "pixel3")):
        price = sum(value * m.features.get(name, 0) for name, value in table.model.coefficients.items())
        assert price == pytest.approx(m.latency_ms, rel=1e-4)
    result = json.loads((tmp_path / "r.json").read_text())["pixel3"]
    assert result["rest_of_fbnet"]["measured_ms"] == 3.0
    assert result["with_grouped_convolutions"]["n"] == 88
    assert result["nasbench201"]["left_out"] == 1


def test_results_of_other_tables_are_kept(tmp_path: Path) -> None:
    files.write_all(tmp_path)
    (tmp_path / "r.json").write_text('{"rpi4": {"n": 1}}')
    assert _run(tmp_path, "pixel3") == 0
    results = json.loads((tmp_path / "r.json").read_text())
    assert list(results) == ["pixel3", "rpi4"]
    assert results["rpi4"] == {"n": 1}


@pytest.mark.parametrize(("table", "file"), [(name, SHIPPED[name].file) for name in NAMES])
def test_missing_measurements_are_refused_in_one_line(
    table: str, file: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert _run(tmp_path, table) == 2
    error = capsys.readouterr().err
    assert error.count("\n") == 1
    assert file in error
    assert not (tmp_path / "tables").exists()


def test_too_few_measurements_are_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    files.write_csv(tmp_path / pixel1.FILE, files.pixel1_rows()[:5])
    assert _run(tmp_path, "pixel1") == 2
    assert "has 5 measurements: a fit of 7 features needs more" in capsys.readouterr().err


def test_damaged_results_are_not_written_over(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    files.write_all(tmp_path)
    (tmp_path / "r.json").write_text("{")
    assert _run(tmp_path, "pixel3") == 2
    assert "is damaged" in capsys.readouterr().err
    assert (tmp_path / "r.json").read_text() == "{"


def test_the_fit_of_exact_note10_blocks_is_exact(tmp_path: Path) -> None:
    files.write_all(tmp_path)
    measurements = SHIPPED["note10"].read(tmp_path)
    model = fit_model(measurements, usual_features(measurements))
    for m in measurements:
        price = sum(value * m.features.get(name, 0) for name, value in model.coefficients.items())
        assert price == pytest.approx(m.latency_ms, rel=1e-4)
    assert model.measured_ranges["mbconv-s1"]["squeeze_channels"][1] == 288


@pytest.mark.parametrize("name", NAMES)
def test_the_shipped_table_and_its_results_agree(name: str) -> None:
    table, result = load_table(name), json.loads(RESULTS.read_text())[name]
    assert table.model
    assert table.model.coefficients == result["coefficients"]
    assert result["file_sha256"] in table.source
    assert table.validation
    checked = table.validation.model_dump(exclude_none=True)
    assert {key: result[key] for key in checked} == checked


@pytest.mark.parametrize(
    ("name", "loo", "grouped"),
    [("pixel1", 0.05, 0.09), ("note10", 0.05, 0.05), ("pixel3", 0.05, 0.06), ("rpi4", 0.15, 0.15)],
)
def test_the_shipped_errors_meet_the_aims(name: str, loo: float, grouped: float) -> None:
    result = json.loads(RESULTS.read_text())[name]
    for part in (result, result["choice_blocks"]):
        assert part["loo_mape"] <= loo
        assert part["grouped_mape"] <= grouped
        assert part["grouped_p90"] >= part["grouped_mape"]


def test_the_readme_names_every_table_and_its_errors() -> None:
    results = json.loads(RESULTS.read_text())
    text = latency_fits_markdown(results)
    for name in NAMES:
        assert f"`{name}`) |" in text
        assert f"| {results[name]['loo_mape']:.1%} | {results[name]['grouped_mape']:.1%} |" in text
        assert results[name]["source"] in text


@pytest.fixture
def data() -> Path:
    if "FAIRNAS_LATENCY_DATA" not in os.environ:
        pytest.skip("needs the published measurements: set FAIRNAS_LATENCY_DATA to the folder of their files")
    return Path(os.environ["FAIRNAS_LATENCY_DATA"])


@pytest.mark.parametrize("name", NAMES)
def test_the_shipped_table_is_the_fit_of_the_measurements(name: str, data: Path) -> None:
    shipped = SHIPPED[name]
    measurements = shipped.read(data)
    model = fit_model(measurements, shipped.features or usual_features(measurements))
    table = load_table(name)
    assert table.model
    assert table.model.coefficients == pytest.approx(model.coefficients, rel=1e-4)
    assert table.model.measured_ranges == model.measured_ranges


def test_held_out_errors_can_be_recomputed_by_a_plain_loop(data: Path) -> None:
    shipped = SHIPPED["pixel1"]
    measurements = shipped.read(data)
    errors: list[float] = []
    for held in measurements:
        model = fit_model([m for m in measurements if m.group != held.group], shipped.features)
        price = sum(value * held.features[name] for name, value in model.coefficients.items())
        errors.append(abs(price / held.latency_ms - 1))
    validation = load_table("pixel1").validation
    assert validation
    assert validation.grouped_mape == pytest.approx(sum(errors) / len(errors), abs=1e-4)


def test_tables_are_written_where_they_are_shipped_from() -> None:
    assert (TABLES / "pixel1.json").is_file()
    assert RESULTS.is_file()
