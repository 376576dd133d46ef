"""Exporting in several formats, also what we did not make: what is written, what is withheld, and what verifies."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from fairnas.exporters.verify import failures, verify
from fairnas.models import build_any_network, parse_any_network
from fairnas.pipeline.cli import app as cli
from fairnas.pipeline.export import export
from safetensors.torch import save_file

Command = Callable[..., tuple[int, str]]

SMALL = ("--preset", "tiny", "--target", "cpu", "--set", "export.parity_images=64", "--set", "export.latency_rounds=3")
# Speed is not what is tested here: three rounds beside other tests say nothing of it.
QUICK = tuple(f"--set=export.int8.{key}" for key in ("calibration_images=32", "methods=[minmax]", "min_speedup=0"))
MODULE = """
import timm
import torch

def make(num_classes=10):
    torch.manual_seed(0)
    return timm.create_model("mobilenetv2_035", num_classes=num_classes)

class Fixed(torch.nn.Sequential):
    # Works with one image at a time once it is traced.
    def forward(self, x):
        return super().forward(x).reshape(int(x.shape[0]), 10)

fixed = Fixed(torch.nn.Conv2d(3, 10, 3), torch.nn.AdaptiveAvgPool2d(1), torch.nn.Flatten())

not_a_network = 3
"""


@pytest.fixture
def fairnas(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Command:
    """The command as the console script runs it, beside the module `mine`; exit code and all that it printed."""
    (tmp_path / "mine.py").write_text(MODULE)
    monkeypatch.chdir(tmp_path)
    monkeypatch.delitem(sys.modules, "mine", raising=False)
    monkeypatch.setattr(sys, "path", list(sys.path))

    def run(*arguments: str) -> tuple[int, str]:
        monkeypatch.setattr(sys, "argv", ["fairnas", *arguments])
        with pytest.raises(SystemExit) as stopped:
            cli.main()
        assert isinstance(stopped.value.code, int)
        return stopped.value.code, " ".join("".join(capsys.readouterr()).split())

    return run


def exporting(*arguments: str) -> list[str]:
    return ["export", *arguments, *SMALL, *QUICK, "--run", "run"]


def passport(name: str) -> dict[str, Any]:
    return json.loads(Path("run/export", name, "passport.json").read_text())


def statuses(name: str) -> dict[str, str]:
    return {record["format"]: record["status"] for record in passport(name)["formats"]}


def test_a_timm_model_with_random_weights(fairnas: Command) -> None:
    code, output = fairnas(*exporting("test_efficientnet", "--format", "onnx,onnx-fp16,onnx-int8"))
    assert code == 0, output
    assert "random weights" in output
    content = passport("test_efficientnet")
    assert content["lineage"]["weights"] == "random"
    assert content["architecture"] == "timm:test_efficientnet"
    assert content["resolution"] == 160  # what timm says of it, not what the preset says
    assert set(statuses("test_efficientnet").values()) == {"written"}
    assert all(record["accuracy"] is None for record in content["formats"])
    folder = Path("run/export/test_efficientnet")
    assert {path.name for path in folder.iterdir()} >= {"model.onnx", "model.fp16.onnx", "model.int8.onnx"}
    assert not failures(verify(folder))


def test_a_users_module_and_its_weights(fairnas: Command) -> None:
    code, output = fairnas(*exporting("mine:make", "--format", "onnx"))
    assert code == 0, output
    record = passport("mine-make")["formats"][0]
    assert record["accuracy"]["pytorch_top1"] == record["accuracy"]["exported_top1"]
    assert record["parity"]["top1_agreement"] == 1


@pytest.mark.parametrize(
    ("network", "words"),
    [
        ("mine:absent", "cannot make a network of mine:absent"),
        ("mine:not_a_network", "mine:not_a_network"),
        ("nowhere:make", "cannot make a network of nowhere:make"),
    ],
)
def test_a_users_mistake_is_one_line(network: str, words: str, fairnas: Command) -> None:
    code, output = fairnas(*exporting(network, "--format", "onnx"))
    assert code == 2
    assert "Traceback" not in output
    assert words in output


def test_given_weights_are_not_trained(fairnas: Command) -> None:
    torch.manual_seed(1)
    network = build_any_network(parse_any_network("fairnas_c"), width=0.25, num_classes=10)
    save_file(network.state_dict(), "w.safetensors")
    width = ("--set", "deploy.width=0.25", "--set", "proxy.width=0.25")
    code, output = fairnas(*exporting("fairnas_c", "--weights", "w.safetensors", "--format", "onnx", *width))
    assert code == 0, output
    assert passport("fairnas_c")["lineage"]["weights"] == "given"
    assert not Path("run/retrain").exists()


def test_what_fails_is_withheld_unless_forced(fairnas: Command) -> None:
    impossible = ("--set", "export.tolerance=1e-12")  # less than rounding
    code, output = fairnas(*exporting("mine:make", "--format", "onnx,onnx-fp16", *impossible))
    assert code == 2, output
    # What is made from a file that is wrong is no better.
    assert statuses("mine-make") == {"onnx": "withheld", "onnx-fp16": "withheld"}
    assert "the float32 file that it is made from is wrong" in output
    assert not (Path("run/export/mine-make/model.onnx")).exists()
    assert "largest relative difference" in output
    code, output = fairnas(*exporting("mine:make", "--format", "onnx,onnx-fp16", *impossible, "--write-anyway"))
    assert code == 0, output
    assert statuses("mine-make")["onnx"] == "forced"
    assert not failures(verify(Path("run/export/mine-make")))


def test_where_nothing_is_handed_over_the_passport_says_why_and_other_networks_leave(fairnas: Command) -> None:
    fast = ("--set", "export.int8.min_speedup=1000")
    code, output = fairnas(*exporting("mine:make", "--format", "onnx-int8"), *fast)
    assert code == 2, output
    assert "times as fast as float here (limit 1000)" in output
    (record,) = passport("mine-make")["formats"]
    assert record["status"] == "withheld"
    assert record["parity"]["images"] == 64
    code, output = fairnas(*exporting("mine:fixed", "mine:make", "--format", "onnx"))
    assert code == 2, output
    assert "mine-fixed: onnx: ONNX Runtime cannot run it on images" in output
    assert statuses("mine-make") == {"onnx": "written"}


def test_what_was_trained_on_other_images_is_not_taken_for_these(fairnas: Command) -> None:
    tiny = ("--preset", "tiny", "--target", "cpu", "--run", "run")
    quick = ("retrain.init=scratch", "retrain.epochs=1", "retrain.batch_size=256")
    code, output = fairnas("retrain", "mine:make", *tiny, *(f"--set={each}" for each in quick))
    assert code == 0, output
    manifest = Path("run/manifest.json")
    manifest.write_text(re.sub(r'("dataset": ")[0-9a-f]{8}', r"\g<1>00000000", manifest.read_text()))
    code, output = fairnas(*exporting("mine:make", "--format", "onnx"))
    assert code == 2
    assert "mine-make was trained on other images here" in output


@pytest.mark.skipif(shutil.which("ssh-keygen") is None, reason="no ssh-keygen on this machine")
def test_what_is_there_already_is_signed_when_asked(fairnas: Command) -> None:
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", "key"], check=True)
    code, output = fairnas(*exporting("mine:make", "--format", "onnx"))
    assert code == 0, output
    signature = Path("run/export/mine-make/SHA256SUMS.sig")
    for _ in range(2):
        assert fairnas(*exporting("mine:make", "--format", "onnx", "--sign-with", "key"))[0] == 0
        assert passport("mine-make")["signed_by"].startswith("SHA256:")
        signature.unlink()
    code, output = fairnas(*exporting("mine:make", "--format", "onnx", "--sign-with", "nowhere"))
    assert code == 2
    assert "no ssh key nowhere" in output


def test_two_networks_that_would_have_one_name(fairnas: Command) -> None:
    both = ("fairnas_c_se", "fairnas_c_se_hswish", "--hard-swish", "--set", "retrain.init=scratch")
    code, output = fairnas(*exporting(*both, "--format", "onnx"))
    assert code == 2
    assert "fairnas_c_se with hard-Swish is called fairnas_c_se_hswish" in output
    assert not Path("run/retrain").exists()


def test_verify_names_a_file_whatever_it_is_called(fairnas: Command) -> None:
    assert fairnas(*exporting("mine:make", "--format", "onnx"))[0] == 0
    strange = Path("run/export/mine-make/[bold]x[y]")
    strange.write_text("")
    code, output = fairnas("verify", str(strange.parent))
    assert code == 2
    assert f"does not verify: {strange.name}" in output


def test_verify_names_a_flipped_byte(fairnas: Command) -> None:
    code, output = fairnas(*exporting("mine:make", "--format", "onnx"))
    assert code == 0, output
    folder = Path("run/export/mine-make")
    assert fairnas("verify", str(folder))[0] == 0
    content = bytearray((folder / "model.onnx").read_bytes())
    content[len(content) // 2] ^= 1
    (folder / "model.onnx").write_bytes(bytes(content))
    code, output = fairnas("verify", str(folder))
    assert code == 2
    assert "does not verify: model.onnx" in output


def test_a_users_file_in_an_export_folder_is_named_before_the_work_and_never_removed(
    fairnas: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    def work(*_: object) -> None:
        pytest.fail("a format was made first")

    monkeypatch.setattr(export.FormatMaker, "make", work)
    note = Path("run/export/mine-make/model.txt")
    note.parent.mkdir(parents=True)
    note.write_text("precious")
    (note.parent / "model.onnx").write_text("of a run that was killed")
    Path("run/manifest.json").write_text('{"stages": {}}')
    code, output = fairnas(*exporting("mine:make"))
    assert (code, note.read_text()) == (2, "precious")
    assert "mine-make/model.txt is none of the files that are exported: move it elsewhere" in output
    assert not (note.parent / "model.onnx").exists()
