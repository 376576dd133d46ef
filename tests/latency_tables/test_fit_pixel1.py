"""The shipped Pixel 1 table is what the fit makes of the measurements, and its errors are what the table says."""

from __future__ import annotations

import csv
import os
from pathlib import Path

import numpy as np
import pytest
from fairnas.latency_tables import LatencyError, LatencyTable, Predictor, load_table
from fairnas.latency_tables.features import FEATURES, block_features
from fairnas.latency_tables.fit_pixel1 import (
    Measurement,
    cross_validate,
    fit_coefficients,
    fit_table,
    main,
    read_measurements,
)
from fairnas.models import get_space

TRUE = dict(zip(FEATURES, [1e-7, 2e-7, 4e-7, 8e-6, 2e-6, 1e-5, 8e-8], strict=True))


@pytest.fixture
def measurements() -> list[Measurement]:
    if "FAIRNAS_PIXEL1_CSV" not in os.environ:
        pytest.skip("needs the measurements: set FAIRNAS_PIXEL1_CSV to the CSV file that the table was fitted to")
    return read_measurements(Path(os.environ["FAIRNAS_PIXEL1_CSV"]))


def _synthetic() -> list[Measurement]:
    """Every block of the space at 224 pixels, with latencies that follow the model exactly."""
    return [
        Measurement(block, sum(TRUE[name] * value for name, value in block_features(block).items()))
        for block in get_space("b").all_blocks(224)
    ]


def test_the_fit_finds_the_coefficients_behind_exact_measurements() -> None:
    np.testing.assert_allclose(fit_coefficients(_synthetic()), list(TRUE.values()), rtol=1e-6)


def test_one_odd_measurement_does_not_move_the_fit() -> None:
    measurements = _synthetic()
    odd = measurements[20]
    measurements[20] = Measurement(odd.block, 3 * odd.latency_ms)
    np.testing.assert_allclose(fit_coefficients(measurements), list(TRUE.values()), rtol=1e-6)
    errors = cross_validate(measurements, list(range(len(measurements))))
    assert errors[20] == pytest.approx(1 / 3 - 1, rel=1e-6)
    # The last block, the classifier, is the only one to show what its weights cost: without it they cost nothing.
    assert np.abs(np.delete(errors, [20, len(errors) - 1])).max() < 1e-6
    assert errors[-1] == pytest.approx(
        -TRUE["classifier_weights"] / (TRUE["classifier_weights"] + TRUE["linear_madds"])
    )


def test_coefficients_never_go_below_zero() -> None:
    rng = np.random.default_rng(0)
    noisy = [Measurement(m.block, float(rng.uniform(0.1, 10))) for m in _synthetic()]
    assert (fit_coefficients(noisy) >= 0).all()


def test_the_shipped_errors_meet_the_aims() -> None:
    validation = load_table("pixel1").validation
    assert validation["n"] == 56
    assert validation["loo_mape"] <= 0.05
    assert validation["grouped_mape"] <= 0.09


def test_the_shipped_table_is_the_fit_of_the_measurements(measurements: list[Measurement]) -> None:
    shipped, fitted = load_table("pixel1"), fit_table(measurements)
    assert shipped.model
    assert fitted.model
    assert shipped.model.coefficients == pytest.approx(fitted.model.coefficients, rel=1e-4)
    assert shipped.model.measured_ranges == fitted.model.measured_ranges
    assert shipped.validation == fitted.validation


def test_the_shipped_errors_can_be_recomputed(measurements: list[Measurement]) -> None:
    """The same figures by a plain loop, and the fit's error through the predictor that users run."""
    validation = load_table("pixel1").validation
    predictor = Predictor(load_table("pixel1"))
    fit = [abs(predictor.price(m.block).latency_ms / m.latency_ms - 1) for m in measurements]
    assert np.mean(fit) == pytest.approx(validation["fit_mape"], abs=1e-4)
    assert not any(predictor.price(m.block).extrapolated for m in measurements)
    one_out, shape_out = [], []
    for held in measurements:
        one_out.append(_error(held, [m for m in measurements if m is not held]))
        shape_out.append(_error(held, [m for m in measurements if _shape(m) != _shape(held)]))
    assert np.mean(one_out) == pytest.approx(validation["loo_mape"], abs=1e-4)
    assert np.mean(shape_out) == pytest.approx(validation["grouped_mape"], abs=1e-4)
    assert len({_shape(m) for m in measurements}) == validation["shapes"]


def _error(held: Measurement, others: list[Measurement]) -> float:
    predicted = np.dot(fit_coefficients(others), [block_features(held.block)[name] for name in FEATURES])
    return abs(float(predicted) / held.latency_ms - 1)


def _shape(m: Measurement) -> tuple[object, ...]:
    return m.block.kind, m.block.in_channels, m.block.out_channels, m.block.resolution, m.block.stride


def _write_csv(path: Path, rows: list[dict[str, object]]) -> None:
    names = ["type", "h_in", "c_in", "c_out", "expand", "kernel", "stride", "mean_ms"]
    with path.open("w", newline="") as file:
        writer = csv.DictWriter(file, names)
        writer.writeheader()
        writer.writerows(rows)


def _row(m: Measurement) -> dict[str, object]:
    block = m.block
    kinds = {"classifier": "Logits", "conv": "Conv" if block.stride == 2 else "Conv_1"}
    row: dict[str, object] = {"type": kinds.get(block.kind, "expanded_conv"), "h_in": block.resolution}
    row |= {"c_in": block.in_channels, "c_out": block.out_channels, "mean_ms": m.latency_ms}
    if row["type"] == "expanded_conv":
        row |= {"expand": f"{block.expansion}.0", "kernel": f"{block.kernel}.0", "stride": f"{block.stride}.0"}
    return row


def test_the_command_reads_a_csv_and_writes_a_table(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    _write_csv(tmp_path / "in.csv", [_row(m) for m in _synthetic()])
    assert read_measurements(tmp_path / "in.csv") == _synthetic()
    assert main([str(tmp_path / "in.csv"), "--out", str(tmp_path / "out.json")]) == 0
    assert "70 blocks of 15 shapes; mean error of the fit 0.0%" in capsys.readouterr().out
    model = LatencyTable.load(tmp_path / "out.json").model
    assert model
    assert model.coefficients == pytest.approx(TRUE, rel=1e-4)


def test_bad_measurements_are_refused_in_one_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    rows = [_row(m) for m in _synthetic()]
    rows[3]["mean_ms"] = "soon"
    _write_csv(tmp_path / "in.csv", rows)
    with pytest.raises(LatencyError, match="line 5: not a measured block"):
        read_measurements(tmp_path / "in.csv")
    _write_csv(tmp_path / "in.csv", rows[:3])
    with pytest.raises(LatencyError, match="3 measurements: a fit of 7 features needs more"):
        read_measurements(tmp_path / "in.csv")
    assert main([str(tmp_path / "missing.csv"), "--out", str(tmp_path / "out.json")]) == 2
    assert capsys.readouterr().err.count("\n") == 1
    assert not (tmp_path / "out.json").exists()
