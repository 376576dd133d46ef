"""The Optuna study: Optuna reads back what was found, and a dashboard shows a search while it runs."""

from __future__ import annotations

import importlib.util
import json
import socket
import subprocess
import sys
import threading
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import optuna
import pytest
from fairnas.models import Architecture
from optuna.distributions import CategoricalDistribution
from optuna.trial import TrialState

from .problems import SPACE, Curve, Killed, killed_after, problem, run


def load(folder: Path) -> optuna.Study:
    return optuna.load_study(study_name="search", storage=f"sqlite:///{folder}/study.db")


def test_optuna_reads_back_what_the_search_found(tmp_path: Path) -> None:
    searched = problem(constraints=["latency_ms<=median", "accuracy>=0.3"])
    study = load(run(searched, tmp_path))
    assert study.metric_names == ["accuracy", "latency_ms"]
    assert [direction.name for direction in study.directions] == ["MAXIMIZE", "MINIMIZE"]
    scores = [json.loads(line) for line in (tmp_path / "scores.jsonl").read_text().splitlines()]
    assert [trial.number for trial in study.trials] == list(range(40))
    for trial, (genome, generation, accuracy) in zip(study.trials, scores, strict=True):
        known = searched.scored(genome, generation, accuracy)
        assert trial.state is TrialState.COMPLETE
        assert trial.values == [accuracy, known.values["latency_ms"]]
        assert list(trial.params.values()) == [str(SPACE.choices[gene]) for gene in genome]
        assert list(trial.params) == [f"layer_{n:02d}" for n in range(1, 20)]
        assert set(trial.distributions.values()) == {CategoricalDistribution([str(c) for c in SPACE.choices])}
        assert Architecture.parse(trial.user_attrs["architecture"]).choices == tuple(genome)
        assert trial.user_attrs["latency_upper_ms"] > trial.user_attrs["latency_ms"] > 0
        assert trial.user_attrs["generation"] == generation
        feasible = known.values["latency_ms"] <= searched.limits["latency_ms"] and accuracy >= 0.3
        assert (max(trial.constraints.values()) <= 0) == feasible


def test_the_study_is_the_one_that_optuna_would_have_written(tmp_path: Path) -> None:
    """Row by row the same as through its own `add_trials`: the schema is Optuna's, and may change with it."""
    ours = load(run(problem(generations=1), tmp_path))
    theirs = optuna.create_study(storage=f"sqlite:///{tmp_path}/theirs.db", directions=ours.directions)
    theirs.add_trials(ours.trials)
    for mine, optunas in zip(ours.trials, theirs.trials, strict=True):
        assert mine == optunas


def test_a_study_goes_on_after_the_search_was_cut_off(tmp_path: Path) -> None:
    for _ in range(3):
        with pytest.raises(Killed):
            run(problem(Curve(killed_after(9))), tmp_path)
    study = load(run(problem(), tmp_path))
    assert [trial.user_attrs["generation"] for trial in study.trials] == [n // 10 for n in range(40)]
    assert len({trial.user_attrs["architecture"] for trial in study.trials}) == 40


def test_a_study_of_another_search_is_replaced(tmp_path: Path) -> None:
    run(problem(generations=2), tmp_path)
    for name in ("state.json", "scores.jsonl"):
        (tmp_path / name).unlink()
    with pytest.raises(Killed):
        run(problem(Curve(killed_after(9))), tmp_path)
    run(problem(), tmp_path)
    assert len(load(tmp_path).trials) == 40


@pytest.fixture
def dashboard(tmp_path: Path) -> Iterator[str]:
    """Address of an optuna-dashboard of the study in `tmp_path`."""
    if importlib.util.find_spec("optuna_dashboard") is None:
        pytest.skip("optuna-dashboard is not installed: pip install 'fairnas[dashboard]'")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    serve = "from optuna_dashboard._cli import main; main()"
    arguments = [f"sqlite:///{tmp_path}/study.db", "--host", "127.0.0.1", "--port", str(port)]
    with (tmp_path / "dashboard.log").open("wb") as log:
        process = subprocess.Popen([sys.executable, "-c", serve, *arguments], stdout=log, stderr=log)
        try:
            yield f"http://127.0.0.1:{port}"
        finally:
            process.terminate()
            process.wait()


def get(address: str) -> Any:
    """What a server answers, as soon as it does."""
    deadline = time.monotonic() + 60
    while True:
        try:
            with urllib.request.urlopen(address, timeout=10) as answer:
                return json.load(answer)
        except OSError:
            assert time.monotonic() < deadline, f"no answer from {address}"
            time.sleep(0.1)


def test_a_dashboard_shows_a_search_while_it_runs(tmp_path: Path, dashboard: str) -> None:
    stop = threading.Event()

    def until_stopped(_: Architecture) -> None:
        if stop.wait(0.05):
            raise Killed

    searched = problem(Curve(until_stopped), generations=1000)

    def search() -> None:
        with pytest.raises(Killed):
            run(searched, tmp_path)

    shown: dict[str, Any] = {}
    searching = threading.Thread(target=search)
    searching.start()
    try:
        while not (tmp_path / "study.db").exists():
            time.sleep(0.05)
        deadline = time.monotonic() + 60
        (study,) = get(f"{dashboard}/api/studies")["study_summaries"]
        assert study["study_name"] == "search"
        seen: list[int] = []
        while len(seen) < 2 or seen[-1] <= seen[0]:
            shown = get(f"{dashboard}/api/studies/{study['study_id']}?after=0")
            if shown["trials"]:
                seen.append(len(shown["trials"]))
            assert time.monotonic() < deadline, "no new trials"
            time.sleep(0.2)
        assert searching.is_alive()
    finally:
        stop.set()
        searching.join()
    assert shown["objective_names"] == ["accuracy", "latency_ms"]
    first = shown["trials"][0]
    assert [parameter["name"] for parameter in first["params"]] == [f"layer_{n:02d}" for n in range(1, 20)]
    assert {attribute["key"] for attribute in first["user_attrs"]} >= {"architecture", "madds", "latency_upper_ms"}
    assert len(first["constraints"]) == 1
    assert {len(trial["values"]) for trial in shown["trials"]} == {2}
