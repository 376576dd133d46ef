"""`fairnas profile` and `fairnas targets`: any model and any space, outside of runs."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from pathlib import Path

import onnx
import pytest
from fairnas.latency_tables import HostDevice, LatencyTable, block_model, list_tables, list_targets
from fairnas.models import Block, get_space
from fairnas.pipeline.cli import app as cli

Command = Callable[..., tuple[int, str, str]]


@pytest.fixture
def command(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Command:
    """The command in an empty working folder: exit code, standard output and standard error."""
    monkeypatch.chdir(tmp_path)

    def run(*arguments: str) -> tuple[int, str, str]:
        monkeypatch.setattr(sys, "argv", ["fairnas", *arguments])
        with pytest.raises(SystemExit) as stopped:
            cli.main()
        assert isinstance(stopped.value.code, int)
        captured = capsys.readouterr()
        return stopped.value.code, captured.out, captured.err

    return run


@pytest.fixture
def network(tmp_path: Path) -> Path:
    """A network with an open batch."""
    model = block_model(Block("conv", 3, 8, 32, 2, 3))
    for value in (*model.graph.input, *model.graph.output):
        value.type.tensor_type.shape.dim[0].dim_param = "batch"
    onnx.save(model, tmp_path / "network.onnx")
    return tmp_path / "network.onnx"


def test_an_onnx_file_and_a_timm_model_are_timed(command: Command, network: Path) -> None:
    models = [network.name, "test_efficientnet"]
    code, output, _ = command("profile", *models, "--input-size", "1x3x32x32", "--rounds", "4", "--json")
    assert code == 0
    rows = json.loads(output)
    fingerprint = HostDevice().fingerprint()
    assert [row["model"] for row in rows] == models
    for row in rows:
        assert 0 < row["latency_ms"] <= row["median_ms"] <= row["p90_ms"]
        assert row["rounds"] == 4
        assert (row["device"], row["runtime"]) == (fingerprint["name"], fingerprint["runtime"])
    assert rows[1]["latency_ms"] > rows[0]["latency_ms"]


def test_times_are_written_beside_their_samples_and_go_on_from_them(command: Command, network: Path) -> None:
    arguments = ("profile", network.name, "--out", "times.json", "--rounds", "3", "--sustained", "0.1", "--json")
    answers = [json.loads(command(*arguments)[1]) for _ in range(2)]
    assert json.loads(Path("times.json").read_text()) == answers[1]
    assert Path("times.json.samples.jsonl").read_text().count('"sample"') == 3
    for (row,) in answers:
        sustained = row.pop("sustained")
        assert sustained["seconds"] >= 0.1
        assert sustained["runs"] > 0
    assert answers[0] == answers[1]


@pytest.mark.parametrize(
    ("arguments", "culprit"),
    [
        (["none.onnx"], "there is no model none.onnx"),
        (["mobilenetv9"], "'mobilenetv9' is no ONNX file and no model that timm knows"),
        (["network.onnx", "--input-size", "224"], "--input-size 224: expected sizes such as 1x3x224x224"),
        (["network.onnx", "--input-size", "1x3x32"], "input 'input' has 4 dimensions, the size given 3"),
        (["--precision", "int4"], "--precision int4: choose fp32 or int8"),
        (["--target", "pixle"], "unknown target 'pixle': did you mean 'pixel'?"),
        (["--target", "rpi4"], "no device of target rpi4 is attached: there is nothing to measure"),
        (["--target", "board"], "add --host user@address"),
    ],
)
@pytest.mark.usefixtures("network")
def test_what_cannot_be_measured_is_answered_with_one_line(
    command: Command, arguments: list[str], culprit: str
) -> None:
    before = set(Path.cwd().iterdir())
    code, output, errors = command("profile", *arguments)
    assert code == 2
    assert output == ""
    assert errors.splitlines()[-1].startswith("error: ")
    assert culprit in errors.splitlines()[-1]
    assert set(Path.cwd().iterdir()) == before


@pytest.mark.slow
def test_a_space_is_profiled_into_a_table_that_targets_lists(command: Command) -> None:
    size = ("--resolution", "32", "--width", "0.25", "--classes", "10")
    code, output, errors = command("profile", *size, "--rounds", "3", "--json")
    assert code == 0, errors
    summary = json.loads(output)
    path = Path(summary["path"])
    assert path == Path("profiles/host-b-32-w0.25-c10/table.json")
    table = LatencyTable.load(path)
    assert len(table.blocks) == summary["blocks"]
    assert table.blocks.keys() == {block.signature for block in get_space("b").scaled(0.25).all_blocks(32, 10)}
    assert table.validation
    assert summary["n"] == table.validation.n == 20
    assert summary["mape"] == table.validation.mape
    assert summary["device"] == HostDevice().fingerprint()
    journals = {file.name for file in path.parent.glob("*.jsonl")}
    moments = {f"references-{moment}.jsonl" for moment in (1, 2, 3, 4)}
    expected = {"blocks.jsonl", "networks.jsonl", "networks-again.jsonl", *moments}
    # Samples of a machine that other tests keep busy are put aside.
    steady = summary["state"] == "validated"
    assert journals == (expected if steady else {name.replace(".jsonl", ".unsteady.jsonl") for name in expected})

    listed = json.loads(command("targets", "--json")[1])["tables"]
    (mine,) = [row for row in listed if row["table"] == str(path)]
    assert mine["kind"] == "measured"
    assert mine["age"] == "today"
    assert (mine["state"], mine["figure"]) == (summary["state"], summary["figure"])
    if steady:  # then what is measured already is not measured again
        again = json.loads(command("profile", *size, "--rounds", "3", "--json")[1])
        assert {**again, "seconds": 0} == {**summary, "seconds": 0}


def test_targets_and_tables_are_listed(command: Command) -> None:
    code, output, _ = command("targets", "--json")
    assert code == 0
    listed = json.loads(output)
    assert [row["name"] for row in listed["targets"]] == list_targets()
    assert [row["table"] for row in listed["tables"]] == list_tables()
    for row in listed["targets"]:
        assert row.keys() == {"name", "title", "measured by", "table", "state", "formats"}
    for row in listed["tables"]:
        assert row["state"].partition(":")[0] in ("fitted", "validated", "unvalidated", "failed")
    code, shown, _ = command("targets")
    assert code == 0
    assert all(name in shown for name in (*list_targets(), *list_tables()))


def test_a_damaged_profile_does_not_hide_the_others(command: Command) -> None:
    Path("profiles/mine").mkdir(parents=True)
    Path("profiles/mine/table.json").write_text("{")
    listed = json.loads(command("targets", "--json")[1])["tables"]
    assert "profiles/mine/table.json is damaged" in listed[-1]["state"]
    assert command("targets")[0] == 0
