"""The certificate of real tiny supernets: what it holds, that scoring resumes, and that results files merge."""

from __future__ import annotations

import csv
import json
import shutil
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from fairnas.common.files import write_json
from fairnas.experiments import ranking as study
from fairnas.models import Architecture, any_space
from fairnas.pipeline.cli.app import main
from fairnas.pipeline.errors import UserError
from fairnas.pipeline.ranking import journal as journals
from fairnas.pipeline.ranking.journal import ScoreJournal
from fairnas.pipeline.report import write_report
from fairnas.pipeline.supernet.scoring import PathScorer

SMALL = ["proxy.width=0.125", "supernet.epochs=2", "data.heldout=0.2", "data.train_images=192", "rank.resamples=200"]
SMALL += ["proxy.resolution=32", "supernet.batch_size=64"]
SMALL += ["scoring.calibration_images=32", "scoring.random_paths=2", "rank.bn_architectures=6"]


def fairnas(monkeypatch: pytest.MonkeyPatch, *arguments: str) -> int:
    monkeypatch.setattr("sys.argv", ["fairnas", *arguments])
    with pytest.raises(SystemExit) as ended:
        main()
    code = ended.value.code
    return code if isinstance(code, int) else 1


def settings(*more: str) -> list[str]:
    return [part for text in (*SMALL, *more) for part in ("--set", text)]


@pytest.fixture(scope="module")
def truth(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A table as NAS-Bench-Macro's; larger networks are truly better, with some noise."""
    rng = np.random.default_rng(0)
    space, rows = any_space("macro"), {}
    while len(rows) < 40:
        architecture = space.sample(rng)
        accuracy = 60 + 30 * space.cost(architecture).madds / 2e8 + rng.normal(0, 1)
        rows["".join(map(str, architecture.choices))] = round(min(accuracy, 99), 2)
    path = tmp_path_factory.mktemp("truth") / "table.csv"
    path.write_text("arch,mean_acc\n" + "".join(f"{digits},{accuracy}\n" for digits, accuracy in rows.items()))
    return path


@pytest.fixture(scope="module")
def ranked(tmp_path_factory: pytest.TempPathFactory, truth: Path) -> Path:
    """A run with a supernet and its certificate. Not to be written to."""
    run = tmp_path_factory.mktemp("ranked") / "run"
    with pytest.MonkeyPatch.context() as patch:
        preset = ["--preset", "ranking-macro-cpu", "--data", "digits", "--run", str(run)]
        assert fairnas(patch, "supernet", *preset, *settings()) == 0
        assert fairnas(patch, "rank", "--run", str(run), "--truth", str(truth), "--architectures", "24") == 0
    return run


def certificate(run: Path) -> dict[str, Any]:
    return json.loads((run / "rank" / "certificate.json").read_text())


def test_a_certificate_says_how_it_came_about(ranked: Path, truth: Path) -> None:
    found = certificate(ranked)
    assert found["n"] == 24
    assert (
        found["protocol"] | {"architectures": 24, "of": 40, "spacing": "quantiles", "spaced_by": "madds"}
        == (found["protocol"])
    )
    assert found["truth"] == {"kind": "table", "file": truth.name, "column": "mean_acc", "architectures": 40}
    assert found["supernet"]["sampling"] == "strict"
    assert found["supernet"]["backward_passes"] == 3 * 2 * (192 // 64)
    assert [mode["bn"] for mode in found["bn_modes"]] == ["recalibrate", "none", "batch"]
    assert {mode["n"] for mode in found["bn_modes"]} == {6}
    # The table's accuracies were made from multiply-adds: this supernet has something to beat.
    assert found["baselines"]["madds"]["tau_b"]["low"] > 0.3
    assert found["tau_b"]["low"] <= found["tau_b"]["value"] <= found["tau_b"]["high"]
    with (ranked / "rank" / "scores.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    scores = [float(row["oneshot"]) for row in rows]
    assert found["gap"]["oneshot_range"] == [round(min(scores), 6), round(max(scores), 6)]
    table = dict(line.split(",") for line in truth.read_text().splitlines()[1:])
    for row in rows:
        digits = "".join(map(str, Architecture.parse(row["architecture"]).choices))
        assert float(row["truth"]) == pytest.approx(float(table[digits]) / 100)


def test_the_run_folders_own_configuration_counts_and_a_second_call_computes_nothing(
    ranked: Path, truth: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    before = (ranked / "rank" / "certificate.json").read_bytes()
    monkeypatch.setattr(PathScorer, "score_all", None)
    arguments = ["--run", str(ranked), "--truth", str(truth), "--architectures", "24", "--json"]
    assert fairnas(monkeypatch, "rank", *arguments) == 0
    printed = capfd.readouterr()
    assert json.loads(printed.out) == certificate(ranked)
    assert "cached  rank" in printed.err
    assert (ranked / "rank" / "certificate.json").read_bytes() == before
    assert "preset: ranking-macro-cpu" in (ranked / "config.yaml").read_text()


def test_interrupted_scoring_goes_on_and_ends_with_the_same_figures(
    ranked: Path, truth: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = tmp_path / "run"
    shutil.copytree(ranked, run)
    monkeypatch.setattr(journals, "CHUNK", 5)
    score_all = PathScorer.score_all
    scored: list[Architecture] = []

    def stop_at_the_third(
        self: PathScorer, architectures: Sequence[Architecture], advance: Callable[[float], None]
    ) -> list[float]:
        if len(scored) == 10:
            raise KeyboardInterrupt
        scored.extend(architectures)
        return score_all(self, architectures, advance)

    monkeypatch.setattr(PathScorer, "score_all", stop_at_the_third)
    arguments = ["rank", "--run", str(run), "--truth", str(truth), "--architectures", "24", "--force", "rank"]
    assert fairnas(monkeypatch, *arguments) == 130
    scored.append(scored[0])  # so that nothing stops it again
    assert len((run / "rank" / "journal.jsonl").read_text().splitlines()) == 2
    assert fairnas(monkeypatch, *arguments[:-2]) == 0
    first = scored[:10] + scored[11:25]
    assert len(set(first)) == len(first) == 24
    resumed, unbroken = certificate(run), certificate(ranked)
    assert {**resumed, "seconds": 0} == {**unbroken, "seconds": 0}
    assert not (run / "rank" / "journal.jsonl").exists()


def test_a_journal_forgets_a_torn_line_only(tmp_path: Path) -> None:
    space = any_space("macro")
    architectures = [space.uniform(choice) for choice in space.choices]

    class Scorer:
        def score_all(self, architectures: Sequence[Architecture], advance: Callable[[float], None]) -> list[float]:
            asked.extend(architectures)
            return [0.25 * (1 + architecture.choices[0]) for architecture in architectures]

    asked: list[Architecture] = []
    path = tmp_path / "journal.jsonl"
    assert ScoreJournal(path).score("none", architectures[:2], Scorer) == [0.25, 0.5]
    with path.open("a") as file:
        file.write('{"series": "none", "seconds": 1, "scor')
    again = ScoreJournal(path)
    assert again.score("none", [architectures[2], architectures[0]], Scorer) == [0.75, 0.25]
    assert again.score("batch", architectures[:1], Scorer) == [0.25]
    assert asked == [*architectures, architectures[0]]
    asked.clear()
    assert ScoreJournal(path).score("none", architectures, Scorer) == [0.25, 0.5, 0.75]
    assert asked == []


def test_the_report_shows_the_certificate_and_says_when_it_is_out_of_date(ranked: Path, tmp_path: Path) -> None:
    run = tmp_path / "run"
    shutil.copytree(ranked, run)
    page = write_report(run).read_text()
    for plot in ("ranking-scatter", "ranking-budget", "block-similarity", "lemma"):
        assert f'data-plot="{plot}"' in page
    assert "data:image/png;base64," in page
    assert f"{certificate(run)['tau_b']['value']:.3f}" in page
    assert "out of date" not in page
    manifest = json.loads((run / "manifest.json").read_text())
    manifest["stages"]["supernet"]["outputs"]["weights.safetensors"] = "another"
    write_json(run / "manifest.json", manifest)
    assert "out of date" in write_report(run).read_text()
    with pytest.raises(UserError, match="earlier supernet"):
        study.read_run(run)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--networks", "4"], "networks of space macro are not trained here: add --truth FILE"),
        (["--truth", "none.csv"], "cannot read the truth table none.csv"),
        (["--truth", "t.csv", "--networks", "3"], "exclude each other"),
        (["--column", "x"], "belong to --truth FILE"),
    ],
)
def test_a_mistake_is_answered_in_one_line_before_anything_is_trained(
    ranked: Path,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
    arguments: list[str],
    words: str,
) -> None:
    assert fairnas(monkeypatch, "rank", "--run", str(ranked), *arguments) == 2
    errors = capfd.readouterr().err
    assert words in " ".join(errors.split())
    assert "Traceback" not in errors
    assert "running" not in errors


def test_networks_trained_stand_alone_are_a_truth_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """From random weights, although this preset's picks inherit the supernet's."""
    run = tmp_path / "run"
    short = ["--set", "retrain.epochs=1", "--set", "rank.resamples=100", "--set", "rank.bn_architectures=0"]
    short += ["--set", "data.train_images=192", "--set", "scoring.random_paths=1"]
    assert fairnas(monkeypatch, "rank", "--preset", "tiny", "--run", str(run), "--networks", "3", *short) == 0
    found = certificate(run)
    assert found["truth"]["kind"] == "trained"
    assert (found["truth"]["init"], found["n"], found["bn_modes"]) == ("scratch", 3, [])
    results = [json.loads(path.read_text()) for path in run.glob("retrain/truth-*/result.json")]
    with (run / "rank" / "scores.csv").open(newline="") as file:
        rows = {row["architecture"]: float(row["truth"]) for row in csv.DictReader(file)}
    assert rows == {result["architecture"]: result["val_top1"] for result in results}
    page = write_report(run).read_text()
    assert "truth-" not in page.split("<h3>Retraining</h3>")[1].split("</section>")[0]


def altered(ranked: Path, folder: Path, sampling: str, seed: int, noise: float) -> study.Judged:
    """A run as another sampling or seed would leave it: other scores, everything else the same."""
    run = study.read_run(ranked)
    rng = np.random.default_rng(seed)
    run.certificate["supernet"]["sampling"] = sampling
    run.config["seed"] = seed
    scores = run.truth + rng.normal(0, noise, len(run.truth))
    return study.Judged(folder, run.certificate, run.config, run.manifest, run.architectures, scores, run.truth)


def test_a_results_file_holds_each_sampling_over_its_seeds(ranked: Path) -> None:
    runs = [
        altered(ranked, Path("s0"), "strict", 0, 0.02),
        altered(ranked, Path("s1"), "strict", 1, 0.02),
        altered(ranked, Path("u0"), "spos", 0, 0.5),
    ]
    figures = study.merge(runs, resamples=300)
    strict, spos = figures["strict"], figures["spos"]
    taus = [study.agreement(run.scores, run.truth).tau_b for run in runs]
    assert strict["tau_b"] == pytest.approx(np.mean(taus[:2]), abs=1e-4)
    assert (strict["seeds"], spos["seeds"], strict["n"]) == (2, 1, 24)
    assert strict["low"] < min(taus[:2])
    assert max(taus[:2]) < strict["high"]
    ahead = spos["strict_is_ahead_by"]
    # Of seed 0, which is all that both have.
    assert ahead["seeds"] == 1
    assert ahead["value"] == pytest.approx(taus[0] - taus[2], abs=2e-4)
    assert 0 < ahead["low"] < ahead["value"] < ahead["high"]
    assert strict["protocol"]["kind"] == "reduced"
    assert "192 training images instead of all" in strict["protocol"]["reduced"]
    lines = study.to_markdown(json.loads(json.dumps(figures))).splitlines()
    assert lines[0].startswith("Reduced protocol: 193 training images at 32 px")  # stratified: about 192
    names = [line.split("|")[1].strip() for line in lines[4:]]
    assert names == ["strict fairness (FairNAS)", "SPOS, k = 1", "no supernet: params", "no supernet: madds"]
    assert {len(line.split("|")) for line in lines[2:]} == {10}


def test_samplings_without_a_common_seed_have_no_lead(ranked: Path) -> None:
    runs = [altered(ranked, Path("s0"), "strict", 0, 0.02), altered(ranked, Path("u1"), "spos", 1, 0.5)]
    figures = study.merge(runs, resamples=100)
    assert figures["spos"]["strict_is_ahead_by"] is None
    assert "SPOS" in study.to_markdown(figures)


def test_runs_that_do_not_compare_are_not_merged(ranked: Path) -> None:
    def run(**changes: Any) -> study.Judged:
        made = altered(ranked, Path("other"), "spos", 0, 0.1)
        return study.Judged(**{**vars(made), **changes})

    first = altered(ranked, Path("first"), "strict", 0, 0.1)
    with pytest.raises(UserError, match="other architectures"):
        study.merge([first, run(architectures=first.architectures[::-1])], 100)
    config = json.loads(json.dumps(first.config))
    config["supernet"]["epochs"] += 1
    with pytest.raises(UserError, match=r"other differs from first in supernet\.epochs"):
        study.merge([first, run(config=config)], 100)
    with pytest.raises(UserError, match="another run of sampling strict with seed 0"):
        study.merge([first, first], 100)


def test_the_collector_writes_the_file_and_a_folder_without_certificate_is_named(
    ranked: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    study.collect(tmp_path / "results.json", [ranked], resamples=100)
    figures = json.loads((tmp_path / "results.json").read_text())
    assert figures["strict"]["tau_b"] == certificate(ranked)["tau_b"]["value"]
    assert str(tmp_path) not in json.dumps(figures)
    with pytest.raises(UserError, match="holds no certificate"):
        study.read_run(tmp_path)
