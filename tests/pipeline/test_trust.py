"""Which tables a search takes, through the real command: those that passed their gate, or all if the user insists."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from fairnas.latency_tables import HostDevice, LatencyTable, Plan, Rounds, Validation, profile_space
from fairnas.models import Task, get_space
from fairnas.pipeline.cli import app as cli

from ..latency_tables.simulated import Simulated
from . import tiny

Command = Callable[..., tuple[int, str]]

FAILED = Validation(by="whole networks", n=20, within_10=0.55)
FIGURE = "55% of 20 networks within 10% (needs 90%)"


@pytest.fixture(scope="module")
def table() -> LatencyTable:
    """A table of what the tiny preset searches, which passed its gate."""
    return profile_space(
        Simulated(), get_space("b").scaled(0.25), Task(32, 10), Plan(Rounds(1, 1), calibration=4, validation=12)
    )


@pytest.fixture
def search(unbroken: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Any:
    """`fairnas search` on a run with a trained supernet, with a table of the user's; exit code and standard error."""
    tiny.rewind(unbroken, tmp_path / "run", "search")

    def run(table: LatencyTable, *more: str) -> tuple[int, str]:
        table.save(tmp_path / "mine.json")
        given = ["--preset", "tiny", "--target", "cpu", "--run", str(tmp_path / "run")]
        settings = [
            f"latency.table={tmp_path / 'mine.json'}",
            "latency.allow_unvalidated=false",
            "export.latency_rounds=3",
        ]
        given += [word for setting in settings for word in ("--set", setting)]
        return command(monkeypatch, capsys, "search", *given, *more)

    return run


def command(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], *arguments: str) -> tuple[int, str]:
    monkeypatch.setattr(sys, "argv", ["fairnas", *arguments])
    with pytest.raises(SystemExit) as stopped:
        cli.main()
    assert isinstance(stopped.value.code, int)
    return stopped.value.code, capsys.readouterr().err


def changed(table: LatencyTable, **parts: Any) -> LatencyTable:
    return table.model_copy(update=parts)


@pytest.mark.parametrize(
    ("parts", "culprits"),
    [
        ({"validation": FAILED}, ["is failed", FIGURE, "--allow-unvalidated"]),
        ({"validation": None}, ["is unvalidated", "never compared with measurements", "--allow-unvalidated"]),
        ({"precision": "int8"}, ["is of int8 models, and latency.table must be of fp32 ones"]),
    ],
)
def test_a_table_that_is_not_fit_for_a_search_stops_it_with_one_line(
    search: Command, table: LatencyTable, tmp_path: Path, parts: dict[str, Any], culprits: list[str]
) -> None:
    code, output = search(changed(table, **parts))
    assert code == 2, output
    last = output.splitlines()[-1]
    assert last.startswith(f"error: latency table {table.name} ")
    assert [culprit for culprit in culprits if culprit not in last] == []
    assert "Traceback" not in output
    assert not (tmp_path / "run" / "search").exists()


@pytest.mark.parametrize(("width", "resolution"), [(0.5, 32), (0.25, 64)])
def test_a_table_of_another_size_stops_the_search_with_one_line(
    search: Command, tmp_path: Path, width: float, resolution: int
) -> None:
    space = get_space("b").scaled(width)
    other = profile_space(Simulated(), space, Task(resolution, 10), Plan(Rounds(1, 1), calibration=0, validation=0))
    code, output = search(other, "--allow-unvalidated")
    assert code == 2, output
    assert "measured for another space or size" in output.splitlines()[-1]
    assert not (tmp_path / "run" / "search").exists()


@pytest.mark.slow
def test_a_failed_table_is_used_on_request_and_the_report_warns_in_red(
    search: Command,
    table: LatencyTable,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    run = tmp_path / "run"
    code, output = search(changed(table, validation=FAILED), "--allow-unvalidated")
    assert code == 0, output
    assert f"table    {table.name}, failed: {FIGURE}" in output
    # The host is attached, so what was picked was measured on it, though the table is of another device.
    measured = json.loads((run / "picks" / "measured.json").read_text())
    picks = json.loads((run / "picks" / "picks.json").read_text())
    assert measured["device"] == HostDevice().fingerprint()
    assert all(pick["measured_ms"] == measured["timings"][pick["architecture"]]["latency_ms"] for pick in picks)
    assert json.loads((run / "latency" / "validation.json").read_text())["state"] == "failed"
    code, output = command(monkeypatch, capsys, "report", "--run", str(run))
    assert code == 0, output
    page = (run / "report" / "index.html").read_text()
    assert '<span class="badge bad">latency not to be trusted</span>' in page
    assert f"failed: {FIGURE}" in page


@pytest.mark.slow
def test_a_table_that_passed_needs_no_permission(search: Command, table: LatencyTable, tmp_path: Path) -> None:
    code, output = search(table)
    assert code == 0, output
    assert f"table    {table.name}, validated: " in output
    assert "latency not to be trusted" not in output
