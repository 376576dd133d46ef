"""What the report must not say: a limit kept that was only predicted, points of another calibration, squashed plots."""

import json
import os
from pathlib import Path
from typing import Any

import pytest
from fairnas.pipeline.report import figures, pareto, sections, write_report
from fairnas.pipeline.report.calibration import corrected
from fairnas.pipeline.report.latency import Comparison
from fairnas.pipeline.report.run_files import read_run
from fairnas.pipeline.report.style import network_styles
from fairnas.pipeline.search.quantities import chance_in_words
from scipy.stats import norm

from . import report_fixture as fixture


def edit(path: Path, change: dict[str, Any]) -> None:
    path.write_text(json.dumps(json.loads(path.read_text()) | change))


def calibrated(run: Path, before: tuple[float, float], after: tuple[float, float]) -> None:
    for name, (intercept, slope) in (("latency", before), ("picks", after)):
        calibration = {"intercept_ms": intercept, "slope": slope, "cold_share": 0.0}
        (run / name / "table.json").write_text(json.dumps({"name": "cpu", "calibration": calibration}))


def test_limits_kept_by_prediction_alone_say_so_with_their_chance(tmp_path: Path) -> None:
    run = fixture.write_run(tmp_path / "pixel", target="pixel")
    path = run / "picks" / "picks.json"
    picks = json.loads(path.read_text())
    # 3.6 ms under a limit of 8.1 ms would be sure; here the interval is wide.
    picks[0] |= {"latency_ms": 7.6, "latency_low_ms": 5.6, "latency_high_ms": 9.6}
    path.write_text(json.dumps(picks))
    judged = sections.picks(read_run(run))[0].kept
    assert judged
    assert (judged.answer, judged.how) == ("kept", "as predicted, not measured; chance 66%")
    # 90% of a normal distribution lie within 1.645 standard deviations.
    assert judged.chance == pytest.approx(norm.cdf(0.5 / (2.0 / 1.644854)), abs=1e-6)
    text = write_report(run).read_text()
    assert "as predicted, not measured; chance 66%" in text
    assert "when measured" not in text
    assert "as predicted, not measured; the least sure with a chance of" in sections.headline(read_run(run)).how_kept


def test_limits_kept_on_the_device_say_so(tmp_path: Path) -> None:
    run = fixture.write_run(tmp_path / "cpu", target="cpu")
    assert {(pick.kept.answer, pick.kept.how) for pick in sections.picks(read_run(run)) if pick.kept} == {
        ("kept", "when measured")
    }
    assert sections.headline(read_run(run)).how_kept == "when measured on the target"


def test_no_chance_is_said_to_be_certain() -> None:
    assert [chance_in_words(chance) for chance in (0.9999, 0.5, 0.0001)] == ["over 99%", "50%", "under 1%"]


def test_a_chance_that_the_run_states_counts(tmp_path: Path) -> None:
    run = fixture.write_run(tmp_path / "pixel", target="pixel")
    path = run / "picks" / "picks.json"
    picks = [pick | {"limit_chance": {"latency_ms": 0.42}} for pick in json.loads(path.read_text())]
    path.write_text(json.dumps(picks))
    assert [pick.kept.chance for pick in sections.picks(read_run(run)) if pick.kept] == [0.42] * 3


def test_everything_in_the_pareto_plot_is_of_one_calibration(tmp_path: Path) -> None:
    """Architectures lie where the corrected table puts them: on the line through the same sum of blocks."""
    run = fixture.write_run(tmp_path / "cpu", target="cpu")
    calibrated(run, (0.5, 1.0), (0.2, 1.5))
    rows = fixture.read_csv(run)
    edit(run / "picks" / "measured.json", {"limit_ms": 0.2 + 1.5 * (fixture.LIMIT_MS - 0.5)})
    points = corrected(read_run(run))
    for row, point in zip(rows, points, strict=True):
        assert point.values["latency_ms"] == pytest.approx(0.2 + 1.5 * (float(row["latency_ms"]) - 0.5))
        assert point.feasible == (row["feasible"] == "True")
    files = read_run(run)
    plot = pareto.pareto(files, "latency_ms", network_styles(files.networks))
    assert "since the picks were measured" in plot.caption
    limit = files.constraints[0].value
    traces = {trace["name"].split(" (")[0]: trace for trace in json.loads(plot.json)["data"]}
    assert max(traces["front"]["x"]) <= limit
    assert min(traces["outside a limit"]["x"]) > limit


def test_architectures_that_an_absolute_limit_excludes_now_are_outside_and_off_the_front(tmp_path: Path) -> None:
    run = fixture.write_run(tmp_path / "cpu", target="cpu")
    calibrated(run, (0.0, 1.0), (0.0, 1.2))
    points = corrected(read_run(run))
    for point in points:
        within = (point.values["latency_ms"] or 0) <= fixture.LIMIT_MS
        assert point.feasible == within
        assert within or not point.on_front


def test_without_a_new_calibration_nothing_moves(tmp_path: Path) -> None:
    run = fixture.write_run(tmp_path / "cpu", target="cpu")
    files = read_run(run)
    assert corrected(files) is files.scored
    calibrated(run, (0.5, 1.0), (0.5, 1.0))
    files = read_run(run)
    assert corrected(files) is files.scored


def test_one_disturbed_percentile_does_not_squash_the_comparison() -> None:
    comparisons = [Comparison(f"n{i}", 1.0 + i / 10, "cpu", 1.01 + i / 10, "cpu", 1.05 + i / 10) for i in range(3)]
    comparisons[1] = Comparison("n1", 1.1, "cpu", 1.11, "cpu", 48.0)
    plot = figures.latency(comparisons, network_styles(["n0", "n1", "n2"]))
    low, high = json.loads(plot.json)["layout"]["yaxis"]["range"]
    assert high - low < 0.5
    assert low < 1.0
    assert high > 1.25
    assert "above the plot for n1" in plot.caption


def test_limits_of_other_latencies_are_written_as_milliseconds(tmp_path: Path) -> None:
    run = fixture.write_run(tmp_path / "cpu", target="cpu")
    for name in ("latency_upper_ms", "latency_int8_ms"):
        edit(run / "search" / "history.json", {"constraints": [f"{name}<=0.27110377006400005"]})
        text = write_report(run).read_text()
        assert "<strong>0.271 ms</strong>" in text
        assert "0.27110377006400005" not in text.replace(json.dumps(name), "")


def test_what_a_machine_measured_is_rounded(tmp_path: Path) -> None:
    run = fixture.write_run(tmp_path / "cpu", target="cpu")
    edit(run / "manifest.json", {"machine": {"cpu": "x", "load": 0.27110377006400005}})
    assert dict(sections.details(read_run(run)).machine)["load"] == "0.2711"


# Files of a stranger's run folder: shown where they can be, named where they cannot.


@pytest.mark.parametrize("name", ["config.yaml", "manifest.json", "search/pareto.csv", "supernet/metrics.jsonl"])
def test_a_link_out_of_the_folder_is_not_followed(tmp_path: Path, name: str) -> None:
    run = fixture.write_run(tmp_path / "cpu", target="cpu")
    secret = tmp_path / "secret"
    secret.write_text("storage: TOPSECRET")
    (run / name).unlink()
    (run / name).symlink_to(secret)
    text = write_report(run).read_text()
    assert "TOPSECRET" not in text
    assert f"{name} could not be read" in text
    assert "is a link" in text


def test_folders_that_are_links_or_have_odd_names_are_left_out(tmp_path: Path) -> None:
    run = fixture.write_run(tmp_path / "cpu", target="cpu")
    elsewhere = tmp_path / "elsewhere" / "TOPSECRET"
    elsewhere.mkdir(parents=True)
    (run / "retrain" / "linked").symlink_to(elsewhere.parent)
    (run / "retrain" / "a\nb\x1b[31m").mkdir()
    (run / "retrain" / os.fsdecode(b"caf\xe9")).mkdir()
    text = write_report(run).read_text()
    assert "TOPSECRET" not in text
    assert read_run(run).networks == fixture.PICKS
    assert text.count("could not be read") == 3
    assert "\x1b" not in text


LAUGHS = "a: &a [x]\n" + "".join(f"{chr(98 + i)}: &{chr(98 + i)} [{f'*{chr(97 + i)},' * 9}]\n" for i in range(9))


@pytest.mark.parametrize(
    ("name", "content", "told"),
    [
        ("config.yaml", LAUGHS, "aliases"),
        ("config.yaml", "a: 2024-13-45", ""),
        ("search/history.json", "[" * 100_000, "nests too deeply"),
        ("search/pareto.csv", "architecture\n" + "x" * 200_000, "field larger than field limit"),
        ("supernet/fairness.json", json.dumps({"choices": [1, 2], "backward_passes": 10**30, "counts": [[1, 1]]}), ""),
        ("search/pareto.csv", "architecture,generation\nb:E3K3,1e300\n", ""),
        ("latency/validation.json", '{"n": NaN}', "NaN is no JSON number"),
        ("search/history.json", "not json", "could not be read"),
    ],
)
def test_hostile_content_is_said_and_left_out(tmp_path: Path, name: str, content: str, told: str) -> None:
    run = fixture.write_run(tmp_path / "cpu", target="cpu")
    (run / name).write_text(content)
    text = write_report(run).read_text()
    assert told in text
    assert ("could not be read" in text) == bool(told)


def test_a_fifo_is_said_and_not_waited_for(tmp_path: Path) -> None:
    run = fixture.write_run(tmp_path / "cpu", target="cpu")
    for name in ("config.yaml", "similarity/feature_maps.png"):
        (run / name).unlink(missing_ok=True)
        os.mkfifo(run / name)
    text = write_report(run).read_text()
    assert text.count("is not a regular file") == 2
