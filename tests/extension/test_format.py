"""An export format is one class and one line: one made here goes all the way, and every real one keeps its word.

The format made here is `weights`: a `.safetensors` file of the network's weights, answered by PyTorch.
"""

from __future__ import annotations

import copy
import json
import subprocess
import sys
import tomllib
from collections.abc import Callable, Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
import torch
from fairnas.common.files import sha256_file
from fairnas.exporters import ExportError, Preprocessing, export_onnx, formats
from fairnas.exporters.checks.findings import Finding
from fairnas.exporters.checks.model_facts import answer_of, probe_images
from fairnas.exporters.checks.stated import check_facts
from fairnas.exporters.deployable import Deployable, Exported, Logits, Samples
from fairnas.exporters.format import Format, Ingredients
from fairnas.exporters.passport.checksums import format_sums
from fairnas.exporters.passport.page import render_passport
from fairnas.exporters.passport.passport import Passport, read_passport
from fairnas.exporters.passport.records import ExportedFile, FormatRecord
from fairnas.exporters.verify import require_sound, verify
from fairnas.latency_tables import get_target, list_targets, targets
from fairnas.models import build_network, parse_network
from fairnas.pipeline.cli import app as cli
from fairnas.pipeline.config import read_config
from fairnas.pipeline.errors import UserError
from fairnas.pipeline.export.settings import ExportConfig
from fairnas.pipeline.runs.stage_files import own_files
from safetensors.torch import load, save, save_file
from torch import Tensor, nn

ROOT = Path(__file__).parents[2]
FILE = "model.weights.safetensors"
EXPORTED = Path("run/export/fairnas_c")

Command = Callable[..., tuple[int, str]]


class Weights(Format):
    """The weights as they are; who knows the architecture can answer with them."""

    name = "weights"
    files = (FILE,)
    runtime = "PyTorch"
    packages = ("safetensors",)
    suffixes = (".safetensors",)

    def make(self, given: Ingredients) -> Exported:
        model = given.reference(self.name)
        about = {"preprocessing": json.dumps(asdict(model.preprocessing)), "labels": json.dumps(model.classes)}
        content = save(model.network.state_dict(), about)
        return Exported(self.name, {FILE: content}, _answering(copy.deepcopy(model.network), content))

    def holds(self, content: bytes, passport: Passport, images: np.ndarray) -> dict[str, Any]:
        assert passport.width is not None
        network = build_network(
            parse_network(passport.architecture), width=passport.width, num_classes=passport.num_classes
        )
        weights, side = load(content), passport.resolution
        run = _answering(network, content)
        return {
            "metadata": json.loads(content[8 : 8 + int.from_bytes(content[:8], "little")])["__metadata__"],
            "precision": None,
            "numbers": sum(weight.numel() for weight in weights.values()),
            "tensors": len(weights),
            "madds": None,
            "inputs": [[None, 3, side, side]],
            "outputs": [[None, passport.num_classes]],
            "answer": answer_of(lambda: (lambda batch: run(torch.from_numpy(batch)).numpy(), None), images),
        }

    def check(
        self, path: Path, file: ExportedFile, record: FormatRecord, passport: Passport, seconds: float
    ) -> Iterator[Finding]:
        images = probe_images(passport.resolution, passport.preprocessing.mean, passport.preprocessing.std)
        facts = self.holds(path.read_bytes(), passport, images)
        taken = [None, 3, passport.resolution, passport.resolution]
        yield from check_facts(self, "weights", facts, file.path, record, passport, taken)


def _answering(network: nn.Module, content: bytes) -> Logits:
    network.load_state_dict(load(content))
    network.eval()

    def run(images: Tensor) -> Tensor:
        with torch.no_grad():
            return network(images)

    return run


@pytest.fixture
def weights(monkeypatch: pytest.MonkeyPatch) -> None:
    """The line in the list."""
    monkeypatch.setattr(formats, "FORMATS", (*formats.FORMATS, Weights()))


@pytest.fixture
def fairnas(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Command:
    """The command as the console script runs it; exit code and all that it printed, without frames."""
    monkeypatch.chdir(tmp_path)

    def run(*arguments: str) -> tuple[int, str]:
        monkeypatch.setattr(sys, "argv", ["fairnas", *arguments])
        with pytest.raises(SystemExit) as stopped:
            cli.main()
        assert isinstance(stopped.value.code, int)
        return stopped.value.code, " ".join(
            "".join(capsys.readouterr()).replace("\N{BOX DRAWINGS LIGHT VERTICAL}", "").split()
        )

    return run


def target(folder: Path, monkeypatch: pytest.MonkeyPatch, *names: str) -> None:
    """A target `toy`, this machine, that leaves in some formats."""
    (folder / "toy.yaml").write_text(f"name: toy\ntitle: Toy\ndevice_kind: host\nformats: [{', '.join(names)}]\n")
    monkeypatch.setattr(targets, "_TARGETS_FOLDER", folder)


def exporting(*more: str) -> list[str]:
    small = ("deploy.width=0.25", "proxy.width=0.25", "export.parity_images=64", "export.latency_rounds=3")
    settings = [f"--set={each}" for each in small]
    return ["export", "fairnas_c", "--weights", "w.safetensors", "--preset", "tiny", "--run", "run", *settings, *more]


def write_weights(path: Path) -> None:
    torch.manual_seed(1)
    save_file(build_network(parse_network("fairnas_c"), width=0.25, num_classes=10).state_dict(), path)


@pytest.mark.usefixtures("weights")
def test_settings_and_errors_know_it() -> None:
    assert read_config("tiny", ["export.formats=[onnx,weights,weights]"]).export.formats == ["onnx", "weights"]
    with pytest.raises(UserError, match=r"formats\.0: .* 'litert-int8' or 'weights' \(got 'weihgts'\)"):
        read_config("tiny", ["export.formats=[weihgts]"])


def test_without_its_line_it_is_unknown(fairnas: Command) -> None:
    with pytest.raises(UserError, match=r"formats\.0: .* 'litert' or 'litert-int8' \(got 'weights'\)"):
        read_config("tiny", ["export.formats=[weights]"])
    assert own_files(Path(), "export/fairnas_c", ()) == []
    Path(FILE).touch()
    assert own_files(Path(), "export/fairnas_c", ()) == []


@pytest.mark.usefixtures("weights")
def test_help_lists_it(fairnas: Command) -> None:
    code, output = fairnas("export", "--help")
    assert code == 0
    assert "weights; several: commas." in output


@pytest.mark.usefixtures("weights")
def test_a_target_that_names_no_format_is_refused(
    fairnas: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    target(tmp_path, monkeypatch, "onnx", "weihgts")
    code, output = fairnas("export", "--preset", "tiny", "--target", "toy")
    assert (code, output) == (2, "error: target toy: unknown format 'weihgts': did you mean 'weights'?")
    assert not Path("runs").exists()


@pytest.mark.usefixtures("weights")
def test_it_leaves_as_every_other_format(fairnas: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """By a target's file, through the command: made, judged, in the passport and on all tables, checked, verified."""
    target(tmp_path, monkeypatch, "onnx", "weights")
    write_weights(tmp_path / "w.safetensors")
    EXPORTED.mkdir(parents=True)
    Path("run/manifest.json").write_text('{"stages": {}}')
    (EXPORTED / FILE).write_text("of a run that was killed")

    code, output = fairnas(*exporting("--target", "toy"))
    assert code == 0, output
    assert "weights written" in output
    passport = json.loads((EXPORTED / "passport.json").read_text())
    assert [record["format"] for record in passport["formats"]] == ["onnx", "weights"]
    record = passport["formats"][1]
    assert record["status"] == "written"
    (file,) = record["files"]
    assert (file["path"], file["sha256"]) == (FILE, sha256_file(EXPORTED / FILE))
    assert record["parity"]["max_relative_difference"] == 0
    assert record["parity"]["tolerance"] == ExportConfig().tolerance
    assert record["accuracy"]["max_drop"] is None
    assert record["holds"]["answer"]["steady"]
    assert "safetensors" in passport["licenses"]["packages"]

    known = ["SHA256SUMS", "model.onnx", FILE, "passport.html", "passport.json"]
    assert own_files(EXPORTED, "export/fairnas_c", ()) == known
    code, output = fairnas("check", "run")
    assert code == 0, output
    code, output = fairnas("report", "--run", "run")
    assert code == 0, output
    assert '<td>weights <span class="badge good">written</span></td>' in Path("run/report/index.html").read_text()
    code, output = fairnas("verify", str(EXPORTED))
    assert code == 0, output

    whole = (EXPORTED / FILE).read_bytes()
    changed = bytearray(whole)
    changed[-1] ^= 1
    (EXPORTED / FILE).write_bytes(changed)
    code, output = fairnas("verify", str(EXPORTED))
    assert code == 2
    assert f"does not verify: {FILE}" in output

    (EXPORTED / FILE).write_bytes(whole)
    require_sound(verify(EXPORTED))
    other = load(whole)
    other["classifier.bias"] += 1
    about = json.loads(whole[8 : 8 + int.from_bytes(whole[:8], "little")])["__metadata__"]
    (EXPORTED / FILE).write_bytes(save(other, about))
    seal(EXPORTED)
    failed = [finding for finding in verify(EXPORTED) if finding.outcome == "failed"]
    assert [(finding.file, finding.what) for finding in failed] == [(FILE, "answer")]


def seal(folder: Path) -> None:
    """What a forger does: digests and page are made to fit what lies there."""
    content = json.loads((folder / "passport.json").read_text())
    for record in content["formats"]:
        for file in record["files"]:
            path = folder / file["path"]
            file.update(bytes=path.stat().st_size, sha256=sha256_file(path))
    passport = read_passport(json.dumps(content))
    (folder / "passport.json").write_text(passport.to_json())
    (folder / "passport.html").write_text(render_passport(passport))
    names = [path.name for path in folder.iterdir() if path.is_file() and path.name != "SHA256SUMS"]
    (folder / "SHA256SUMS").write_text(format_sums(folder, names))


# What holds for every format of the list.

ALL = pytest.mark.parametrize("form", formats.FORMATS, ids=lambda form: form.name)


def test_names_and_files_are_each_formats_own() -> None:
    assert formats.format_names() == (
        *("onnx", "onnx-fp16", "onnx-int8"),
        *("tensorrt", "tensorrt-fp16", "tensorrt-int8"),
        *("litert", "litert-int8"),
    )
    assert sorted(formats.file_names()) == [
        *("model.fp16.engine", "model.fp16.onnx", "model.fp32.engine", "model.int8.engine", "model.int8.onnx"),
        *("model.int8.tflite", "model.onnx", "model.tflite"),
    ]
    assert formats.in_short() == "onnx[-fp16|-int8], tensorrt[-fp16|-int8], litert[-int8]"


def test_names_are_known_without_what_is_slow() -> None:
    code = (
        "import sys\n"
        "for name in ('torch', 'onnx', 'onnxruntime', 'numpy', 'tensorrt_rtx', 'ai_edge_litert'):\n"
        "    sys.modules[name] = None\n"  # importing it raises
        "from fairnas.exporters.formats import file_names, format_names, in_short, packages\n"
        "print(len(format_names()), len(file_names()), bool(in_short()), bool(packages()))"
    )
    made = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert made.stdout.split() == ["8", "8", "True", "True"], made.stderr


def test_an_unknown_name_is_refused() -> None:
    with pytest.raises(ExportError, match=r"unknown format 'onnx-int4': choose from onnx, onnx-fp16, .*litert-int8"):
        formats.get_format("onnx-int4")


@ALL
def test_what_a_format_says_of_itself_is_there(form: Format) -> None:
    assert formats.get_format(form.name) is form
    assert formats.format_of_file(form.name, Path(form.files[0]).suffix) is form
    extras = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["optional-dependencies"]
    assert form.extra is None or form.extra in extras
    if form.made_from is not None:
        float_form = formats.get_format(form.made_from)
        assert (float_form.precision, float_form.made_from) == ("fp32", None)


def test_a_file_is_checked_as_its_formats_else_as_one_that_ends_alike() -> None:
    assert formats.format_of_file("onnx-fp16", ".onnx") is formats.get_format("onnx-fp16")
    assert formats.format_of_file("unheard-of", ".tflite") is formats.get_format("litert")
    assert formats.format_of_file("tensorrt-int8", ".plan") is formats.get_format("tensorrt-int8")
    assert formats.format_of_file("onnx", ".txt") is None


def test_targets_name_formats_that_there_are() -> None:
    assert {name for each in list_targets() for name in get_target(each).formats} <= set(formats.format_names())


class Given:
    """What formats are made from, of a network that is made in no time."""

    def __init__(self) -> None:
        torch.manual_seed(0)
        layers = nn.Conv2d(3, 16, 3, stride=2), nn.ReLU(), nn.Conv2d(16, 16, 3), nn.AdaptiveAvgPool2d(1), nn.Flatten()
        network = nn.Sequential(*layers, nn.Linear(16, 4)).eval()
        self.deployable = Deployable(
            "net", network, Preprocessing(32, 1.0, (0.5, 0.5, 0.5), (0.2, 0.2, 0.2)), tuple("abcd")
        )
        self.settings = ExportConfig()
        self.branches: list[str] = []
        self.said: list[str] = []
        images = torch.randn(32, 3, 32, 32)
        with torch.no_grad():
            self.samples = Samples(images[:16], images[16:], network(images[16:]).argmax(1))

    @property
    def float_onnx(self) -> bytes:
        model = self.deployable
        return export_onnx(model.network, model.preprocessing, model.classes, 18, model.name)

    def reference(self, name: str) -> Deployable:
        return self.deployable

    def reference_onnx(self, name: str) -> bytes:
        return self.float_onnx

    def say(self, text: str, /) -> None:
        self.said.append(text)


@ALL
def test_a_format_leaves_what_it_declares(form: Format) -> None:
    given = Given()
    try:
        made = form.make(given)
    except ExportError as error:
        if form.extra is None or f"pip install 'fairnas[{form.extra}]'" not in str(error):
            raise
        pytest.skip(str(error))
    assert made.format == form.name
    assert tuple(made.files) == form.files
    images = torch.randn(3, 3, 32, 32)
    if made.run is None:
        assert made.not_run
    else:
        assert made.run(images).shape == (3, 4)
    if form.is_onnx:
        assert onnx.load_from_string(made.model).graph.output[0].name == "logits"
    again = form.answers(made.model)
    if again is not None:
        assert made.run is not None
        torch.testing.assert_close(again(images), made.run(images))
