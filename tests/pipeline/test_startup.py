"""What a look at names and folders shows is answered without importing torch, and what is lazy is there when asked."""

from __future__ import annotations

import ast
import importlib
import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
import timm
from fairnas.models.network_names import _names_in_timms_sources
from fairnas.pipeline.cli.interrupts import INTERRUPTED
from fairnas.pipeline.cli.quick_checks import SOURCE_NAMES
from fairnas.pipeline.data import NAMED_SOURCES
from timm.models._registry import _model_entrypoints

# Many commands in one process, where importing what is slow raises.
_COMMANDS = """
import io, json, sys
class Slow:
    def find_spec(self, name, path=None, target=None):
        if name in ("torch", "torchvision", "timm", "scipy", "onnx", "onnxruntime", "sklearn", "optuna"):
            raise AssertionError(f"{name} is imported")
sys.meta_path.insert(0, Slow())
from fairnas.pipeline.cli import app as cli
answers = []
for command in json.loads(sys.argv[1]):
    sys.argv[1:] = command
    sys.stdout, sys.stderr = io.StringIO(), io.StringIO()
    try:
        cli.main()
    except SystemExit as stopped:
        answers.append([stopped.code, sys.stderr.getvalue()])
sys.__stdout__.write(json.dumps(answers))
"""

REFUSED = {
    ("pipeline", "--target", "nope"): "unknown target 'nope'",
    ("pipeline", "--preset", "nope"): "unknown preset 'nope'",
    ("pipeline", "--data", "missing"): "no such folder: missing",
    ("pipeline", "--data", "~nosuchuser/images"): "there is no such home folder",
    ("pipeline", "--set", "supernet.epoch=3"): "unknown key 'supernet.epoch': did you mean 'epochs'?",
    ("pipeline", "--force", "serch"): "unknown stage 'serch': did you mean 'search'?",
    ("pipeline", "--run", "/dev/null"): "cannot write to run folder /dev/null: /dev/null is not a folder",
    ("supernet", "--run", "/dev/null/deeper"): "/dev/null is not a folder",
    ("retrain", "fairnas_d"): "unknown network 'fairnas_d'",
    ("retrain", "mobilenetv3_large_10"): "did you mean mobilenetv3_large_100",
    ("retrain", "--", "a\nb"): r"unknown network 'a\nb'",
    ("retrain", "os:abort"): "os is a module of Python's own",
    ("retrain", "antigravity:fly"): "antigravity is a module of Python's own",
    ("export", "--run", "typo"): "there is no run in typo",
    ("export", "--format", "onnx,onx"): "export.formats.1: Input should be 'onnx', 'onnx-fp16', 'onnx-int8'",
    ("retrain", "--run", "typo"): "there is no run in typo",
    ("rank", "--run", "typo"): "there is no run in typo",
    ("report", "--run", "typo"): "typo is not a run folder",
    ("transfer", "--weights", "typo"): "no weights typo: give a .safetensors",
    ("verify", "typo"): "no folder typo",
    ("profile", "--target", "nope"): "unknown target 'nope'",
    ("profile", "--target", "cpu", "--threads", "2"): "target cpu runs on one thread",
    ("profile", "--target", "rpi4", "--host", "pi@x"): "fairnas profile --target board --host pi@raspberrypi",
}


def test_mistakes_and_lists_are_answered_without_what_is_slow(tmp_path: Path) -> None:
    commands = [*map(list, REFUSED), ["targets"], ["targets", "--json"], ["models", "--json"]]
    made = subprocess.run(
        [sys.executable, "-c", _COMMANDS, json.dumps(commands)],
        capture_output=True,
        text=True,
        check=False,
        cwd=tmp_path,
    )
    assert made.returncode == 0, made.stderr
    answers = json.loads(made.stdout)
    for command, (code, output), said in zip(commands, answers, [*REFUSED.values(), "", "", ""], strict=True):
        assert said in output, (command, output)
        assert output.count("\n") == bool(said), (command, output)
        assert code == (2 if said else 0), command
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("package", ["fairnas.models", "fairnas.latency_tables", "fairnas.exporters"])
def test_lazy_packages_have_all_their_names(package: str) -> None:
    module = importlib.import_module(package)
    assert module.__file__
    imported = {
        alias.asname or alias.name
        for node in ast.walk(ast.parse(Path(module.__file__).read_text()))
        if isinstance(node, ast.ImportFrom) and node.level == 1
        for alias in node.names
    }
    assert set(module.__all__) <= imported
    # A module of that name would stand in its place as soon as anybody imports from it.
    folder = Path(module.__file__).parent
    assert not {name for name in module.__all__ if (folder / f"{name}.py").exists() or (folder / name).is_dir()}
    for name in module.__all__:
        assert getattr(module, name) is getattr(module, name)
    with pytest.raises(AttributeError, match="has no attribute 'nothing'"):
        module.nothing  # noqa: B018


@pytest.mark.parametrize("first", ["timm", "fairnas.models"])
def test_timm_knows_our_networks_whatever_is_imported_first(first: str) -> None:
    second = {"timm": "fairnas.models", "fairnas.models": "timm"}[first]
    code = f"import {first}, {second}; assert timm.is_model('fairnas_a'); print(timm.__spec__.loader.get_filename())"
    made = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert made.stdout.strip() == timm.__file__, made.stderr


def test_timms_names_are_read_from_its_sources() -> None:
    assert _names_in_timms_sources() == set(_model_entrypoints)


def test_image_sources_are_those_that_are_named() -> None:
    assert tuple(NAMED_SOURCES) == SOURCE_NAMES


def test_ctrl_c_while_modules_are_imported_is_one_line(tmp_path: Path) -> None:
    """The interrupt comes where `typer` is imported, before `main` could catch anything."""
    (tmp_path / "typer.py").write_text("import os, signal\nos.kill(os.getpid(), signal.SIGINT)\n")
    made = subprocess.run(
        [sys.executable, "-m", "fairnas.pipeline.cli", "targets"],
        capture_output=True,
        text=True,
        check=False,
        cwd=tmp_path,
        env=os.environ | {"PYTHONPATH": str(tmp_path)},
    )
    assert (made.returncode, made.stderr) == (INTERRUPTED, "stopped: nothing was begun\n")


def test_importing_the_pipeline_leaves_ctrl_c_to_others() -> None:
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
