"""A device is a class and a line, a stage is a file and a line: each is then known to everything else."""

from __future__ import annotations

import json
import shutil
import sys
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import onnx
import pytest
from fairnas.common.files import sha256_json
from fairnas.latency_tables import LatencyError, block_model, get_target, targets
from fairnas.latency_tables.device import Device
from fairnas.latency_tables.devices import KINDS, DeviceKind
from fairnas.models import Block
from fairnas.pipeline.cli import app as cli
from fairnas.pipeline.cli.opened import opened
from fairnas.pipeline.config import read_config
from fairnas.pipeline.runs.stage_names import STAGES, StageKind, forced_by
from fairnas.pipeline.stages.context import Context

from ..devices.contract import CONTRACT, sentence
from ..pipeline import stage_sources
from . import toy_stage
from .toy_device import ToyDevice, time_ms

TARGET = "name: toy\ntitle: An abacus\ndevice_kind: toy\nformats: [onnx]\n"
Command = Callable[..., tuple[int, str, str]]


@pytest.fixture
def command(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Command:
    """The command in an empty working folder: exit code, standard output and standard error."""
    monkeypatch.chdir(tmp_path)

    def run(*arguments: str) -> tuple[int, str, str]:
        monkeypatch.setattr(sys, "argv", ["fairnas", *arguments])
        with pytest.raises(SystemExit) as stopped:
            cli.main()
        captured = capsys.readouterr()
        return cast(int, stopped.value.code), captured.out, captured.err

    return run


@pytest.fixture
def target_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder of targets, which tests may add to."""
    folder = tmp_path / "targets"
    shutil.copytree(targets._TARGETS_FOLDER, folder)
    monkeypatch.setattr(targets, "_TARGETS_FOLDER", folder)
    return folder


@pytest.fixture
def toy_target(target_files: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The toy device, added as all others are; and a target that names it."""
    toy = DeviceKind(lambda target, options: ToyDevice(options.threads), "arithmetic, here", takes=("threads",))
    monkeypatch.setitem(KINDS, "toy", toy)
    (target_files / "toy.yaml").write_text(TARGET)


@pytest.mark.parametrize("promise", CONTRACT, ids=sentence)
def test_the_toy_device_keeps_the_contract(promise: Callable[[Device], None]) -> None:
    device = ToyDevice()
    device.prepare()
    promise(device)


@pytest.mark.usefixtures("toy_target")
def test_its_target_is_listed(command: Command) -> None:
    code, output, errors = command("targets", "--json")
    assert code == 0, errors
    (mine,) = [row for row in json.loads(output)["targets"] if row["name"] == "toy"]
    assert (mine["title"], mine["measured by"]) == ("An abacus", "arithmetic, here")
    assert mine["state"] == "measured when it is there"


@pytest.mark.usefixtures("toy_target")
def test_it_is_measured_by_name(command: Command, tmp_path: Path) -> None:
    model = block_model(Block("conv", 3, 8, 32, 2, 3))
    onnx.save(model, tmp_path / "network.onnx")
    code, output, errors = command("profile", "--target", "toy", "network.onnx", "--rounds", "3", "--json")
    assert code == 0, errors
    (row,) = json.loads(output)
    assert (row["device"], row["runtime"]) == ("an abacus", "arithmetic")
    assert row["latency_ms"] == pytest.approx(time_ms("network", model.SerializeToString()))
    assert row["latency_ms"] > 0


@pytest.mark.usefixtures("toy_target")
def test_options_that_it_does_not_take_are_refused(command: Command) -> None:
    code, _, errors = command("profile", "--target", "toy", "--cpus", "big")
    assert (code, errors) == (2, "error: target toy takes no --cpus: leave --cpus big away\n")


@pytest.mark.usefixtures("toy_target")
@pytest.mark.parametrize(
    ("kind", "hint"), [("toi", "did you mean 'toy'?"), ("sundial", "choose from host, adb, ssh, browser, cuda, toy")]
)
def test_a_wrong_kind_is_answered_with_those_that_there_are(target_files: Path, kind: str, hint: str) -> None:
    (target_files / "odd.yaml").write_text(TARGET.replace("toy", "odd", 1).replace("kind: toy", f"kind: {kind}"))
    with pytest.raises(LatencyError) as refusal:
        get_target("odd")
    assert str(refusal.value) == f"target odd is of an unknown kind of device, '{kind}': {hint}"


def _context(*overrides: str) -> Context:
    config = read_config("tiny", overrides, target="toy")
    return Context(config, cast(Any, SimpleNamespace()), cast(Any, SimpleNamespace()))


@pytest.mark.usefixtures("toy_target")
def test_a_run_opens_it_with_its_settings_and_knows_it_again() -> None:
    context = _context("latency.threads=3")
    device = context.device
    assert isinstance(device, ToyDevice)
    assert device.threads == 3
    assert context.device_digest() == sha256_json(device.fingerprint())
    assert device.prepared == 1
    with pytest.raises(LatencyError, match="target toy takes no --serial"):
        _ = _context("latency.serial=abc").device


@pytest.mark.usefixtures("toy_target")
def test_one_that_somebody_must_be_at_is_not_asked_who_it_is(monkeypatch: pytest.MonkeyPatch) -> None:
    device = ToyDevice()
    monkeypatch.setitem(KINDS, "toy", DeviceKind(lambda *_: device, "a finger", needs_people=True))
    assert _context().device_digest() == "toy"
    assert device.prepared == 0


@pytest.fixture
def toy_stage_is_listed(monkeypatch: pytest.MonkeyPatch) -> None:
    """The toy stage, added as all others are."""
    monkeypatch.setitem(STAGES, "toy", StageKind(("count.json", "draft-[0-9].txt"), made_from=("supernet",)))


@pytest.mark.usefixtures("toy_stage_is_listed")
def test_a_stage_is_run_reused_and_forced(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    said = []
    for force in (None, None, "toy", "supernet", "picks"):
        with opened("cpu", "tiny", None, tmp_path / "run", None, None, force) as work:
            toy_stage.run(work)
            images = len(work.dataset.train)
        said += [line for line in capsys.readouterr().err.splitlines() if line.endswith(" toy")]
    assert said == ["running toy", "cached  toy", "running toy", "running toy", "cached  toy"]
    assert json.loads((tmp_path / "run/toy/count.json").read_text()) == {"images": images}
    assert "report" in forced_by("toy")


@pytest.mark.usefixtures("toy_stage_is_listed")
def test_a_mistyped_stage_is_answered_with_it(command: Command) -> None:
    code, _, errors = command("pipeline", "--force", "toi")
    assert (code, errors) == (2, "error: unknown stage 'toi': did you mean 'toy'?\n")


@pytest.mark.usefixtures("toy_stage_is_listed")
def test_check_knows_its_files_and_those_that_are_not(command: Command, tmp_path: Path) -> None:
    with opened("cpu", "tiny", None, tmp_path / "run", None, None, None) as work:
        toy_stage.run(work)
    (tmp_path / "run/toy/mine.txt").write_text("mine")
    code, output, errors = command("check", "run", "--json")
    assert code == 0, errors
    found = {(row["path"], row["what"]): row["outcome"] for row in json.loads(output)}
    assert found["toy/count.json", "output"] == found["toy", "key"] == "ok"
    assert [path for path, what in found if what == "stray"] == ["toy/mine.txt"]


def test_its_sources_are_watched(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stage_sources, "ROOT", tmp_path)
    for name, content in {
        "stages/context.py": "class Context: ...",
        "stages/toy.py": (
            "from ..counting import count\nfrom .context import Context\nVERSION = 7\nDECIDED_BY = (count,)\n"
            "def run(context: Context) -> None:\n    Stage('toy', VERSION, {}, {}, (), count)\n"
        ),
        "counting.py": "from .numbers import one\ndef count(): ...",
        "numbers.py": "one = 1",
        "unrelated.py": "two = 2",
    }.items():
        path = tmp_path / "pipeline" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(content)
    locked = stage_sources.current()
    assert locked["versions"] == {"toy": 7}
    assert set(locked["sources"]) == {"pipeline/counting.py", "pipeline/numbers.py"}
