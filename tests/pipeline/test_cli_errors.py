"""The user's mistakes through the real command: one line that names the culprit, and nothing half-done."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
from fairnas.latency_tables import table as tables
from fairnas.pipeline.cli import app as cli
from fairnas.pipeline.runs.checkpoint import Checkpoint
from PIL import Image

from . import tiny

Command = Callable[..., tuple[int, str]]


@pytest.fixture
def command(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Command:
    """The command as the console script runs it, in an empty working folder; exit code and standard error."""
    (tmp_path / "work").mkdir()
    monkeypatch.chdir(tmp_path / "work")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))

    def run(*arguments: str) -> tuple[int, str]:
        monkeypatch.setattr(sys, "argv", ["fairnas", *arguments])
        with pytest.raises(SystemExit) as stopped:
            cli.main()
        assert isinstance(stopped.value.code, int)
        return stopped.value.code, capsys.readouterr().err

    return run


def assert_refused(answer: tuple[int, str], *culprits: str) -> None:
    """One line of error, the last one, with all of the culprits in it."""
    code, output = answer
    assert code == 2, output
    lines = output.splitlines()
    assert [line for line in lines if "error:" in line.lower()] == lines[-1:], output
    assert lines[-1].startswith("error: "), output
    assert "Traceback" not in output
    for culprit in culprits:
        assert culprit in lines[-1], (culprit, output)


def temporaries(folder: Path) -> list[Path]:
    return [path for path in folder.rglob("*") if path.name.endswith(".tmp") or path.name.startswith(".index-")]


# Images: everything is checked before anything is written.


@pytest.fixture
def images(tmp_path: Path) -> Path:
    """A sound class folder."""
    rng = np.random.default_rng(0)
    for split, count in (("train", 8), ("val", 3)):
        for name in ("cat", "dog"):
            folder = tmp_path / "images" / split / name
            folder.mkdir(parents=True)
            for index in range(count):
                pixels = rng.integers(0, 256, (40, 40, 3), dtype=np.uint8)
                Image.fromarray(pixels).save(folder / f"{index}.jpg")
    return tmp_path / "images"


def missing_folder(images: Path) -> str:
    shutil.rmtree(images)
    return f"no such folder: {images}"


def empty_class(images: Path) -> str:
    for path in (images / "train" / "dog").iterdir():
        path.unlink()
    return f"class dog is empty: no images in {images}/train/dog"


def truncated_jpeg(images: Path) -> str:
    path = images / "val" / "cat" / "1.jpg"
    path.write_bytes(path.read_bytes()[:500])
    return str(path)


def class_missing_from_val(images: Path) -> str:
    shutil.rmtree(images / "val" / "dog")
    return "class dog is missing"


@pytest.mark.parametrize("damage", [missing_folder, empty_class, truncated_jpeg, class_missing_from_val])
@pytest.mark.parametrize("stage", ["pipeline", "supernet"])
def test_bad_images(command: Command, images: Path, damage: Callable[[Path], str], stage: str) -> None:
    culprit = damage(images)
    assert_refused(command(stage, "--preset", "tiny", "--data", str(images)), culprit)
    assert list(Path.cwd().iterdir()) == []


def test_brackets_in_names_are_shown_as_they_are(command: Command, images: Path) -> None:
    """Square brackets are markup to the console, which drops them or stumbles over them."""
    odd = images.rename(images.with_name("im[red]ages[b]"))
    culprit = empty_class(odd)
    assert_refused(command("supernet", "--preset", "tiny", "--data", str(odd)), culprit)
    assert_refused(command("supernet", "--preset", "[/x]"), "unknown preset '[/x]'")


# Names and values.


@pytest.mark.parametrize(
    ("arguments", "culprit"),
    [
        (["--preset", "quikstart"], "unknown preset 'quikstart': did you mean 'quickstart'?"),
        (["--target", "pixle"], "unknown target 'pixle': did you mean 'pixel'?"),
        (["--set", "supernet.epoch=3"], "unknown key 'supernet.epoch': did you mean 'epochs'?"),
        (["--set", "supernet.epochs"], "--set supernet.epochs: expected key=value"),
        (["--set", "supernet.epochs=0"], "supernet.epochs: Input should be greater than or equal to 1"),
        (["--set", "search.constraints=[latency<=3]"], "'latency<=3' is not a constraint"),
        (["--force", "serch"], "unknown stage 'serch': did you mean 'search'?"),
        (["--data", "cifar11"], "no such folder: cifar11"),
        (["--seed", "-1"], "seed: Input should be greater than or equal to 0"),
    ],
)
def test_unknown_names_and_wrong_values(command: Command, arguments: list[str], culprit: str) -> None:
    preset = [] if "--preset" in arguments else ["--preset", "tiny"]
    assert_refused(command("pipeline", *preset, *arguments), culprit)
    assert list(Path.cwd().iterdir()) == []


@pytest.mark.parametrize(
    ("arguments", "culprit"),
    [
        (["pipeline", "--presett", "tiny"], "No such option: --presett"),
        (["pipelin"], "No such command 'pipelin'"),
        (["pipeline", "--seed", "one"], "Invalid value for '--seed'"),
        (["pipeline", "--preset"], "--preset"),
        (["models", "--resolution", "8"], "Invalid value for '--resolution'"),
        ([], ""),
    ],
)
def test_a_misspelt_command_line(command: Command, arguments: list[str], culprit: str) -> None:
    code, output = command(*arguments)
    assert code == 2
    assert culprit in output
    assert "Traceback" not in output
    assert list(Path.cwd().iterdir()) == []


@pytest.mark.parametrize("name", ["retrain", "export"])
def test_unknown_networks(command: Command, name: str) -> None:
    assert_refused(command(name, "fairnas_d", "--preset", "tiny"), "unknown network 'fairnas_d'")
    assert_refused(command(name, "b:E3K3", "--preset", "tiny"), "'b:E3K3' names 1 blocks")
    assert list(Path.cwd().iterdir()) == []


def test_a_network_that_the_target_cannot_price(command: Command) -> None:
    answer = command("export", "fairnas_a_se", "--preset", "tiny", "--set", "retrain.init=scratch")
    assert_refused(answer, "pixel1 cannot price block", "-se1-swish")
    assert not list(Path.cwd().glob("runs/*/retrain"))


@pytest.mark.parametrize("name", ["retrain", "export"])
@pytest.mark.parametrize("network", ["fairnas_a_se", "a:" + "-".join(["E3K3"] * 16)])
def test_networks_that_the_supernet_has_no_weights_for(name: str, network: str, command: Command) -> None:
    assert_refused(command(name, network, "--preset", "tiny"), "--set retrain.init=scratch")
    assert not list(Path.cwd().glob("runs/*/supernet"))


def test_a_report_of_nothing(command: Command) -> None:
    assert_refused(command("report", "--run", "nowhere"), "nowhere is not a run folder")
    assert list(Path.cwd().iterdir()) == []


def test_the_installed_command_answers_the_same(tmp_path: Path) -> None:
    """In a process of its own: nothing but the one line reaches the terminal."""
    script = Path(sys.executable).parent / "fairnas"
    finished = subprocess.run(
        [str(script), "pipeline", "--preset", "nope"], capture_output=True, text=True, check=False, cwd=tmp_path
    )
    assert finished.returncode == 2
    assert finished.stdout == ""
    assert finished.stderr.count("\n") == 1
    assert finished.stderr.startswith("error: unknown preset 'nope'")
    assert list(tmp_path.iterdir()) == []


# Limits that no network keeps.


@pytest.mark.parametrize(
    ("limits", "culprit"),
    [
        ("[latency_ms<=0.001]", "no network of space b meets latency_ms<=0.001: the smallest has"),
        ("[params<=1]", "no network of space b meets params<=1"),
    ],
)
def test_impossible_constraints(command: Command, unbroken: Path, tmp_path: Path, limits: str, culprit: str) -> None:
    run = tmp_path / "run"
    tiny.rewind(unbroken, run, "search")
    answer = command("search", *tiny.arguments(run)[1:], "--set", f"search.constraints={limits}")
    assert_refused(answer, culprit)
    assert "can space b meet the constraints?" in answer[1]
    assert not (run / "search").exists()


# Damaged files.


@pytest.mark.parametrize("stage", ["supernet", "retrain/pick-2"])
@pytest.mark.parametrize("damage", [lambda content: content[:-100], lambda _: b"", lambda content: b"x" + content[1:]])
def test_a_corrupt_checkpoint(
    command: Command, unbroken: Path, tmp_path: Path, stage: str, damage: Callable[[bytes], bytes]
) -> None:
    run = tmp_path / "run"
    tiny.rewind(unbroken, run, stage)
    (run / stage).mkdir()
    (run / stage / ".key").write_text(tiny.manifest(unbroken)["stages"][stage]["key"])
    path = run / stage / "checkpoint.pt"
    Checkpoint(path, 1.0).save({"step": 1})
    path.write_bytes(damage(path.read_bytes()))
    answer = command(*tiny.arguments(run))
    assert_refused(answer, f"{path} is damaged: it is not what was written: delete it")
    assert stage not in tiny.manifest(run)["stages"]
    assert temporaries(run) == []


def test_what_a_corrupt_checkpoint_advises_helps(command: Command, unbroken: Path, tmp_path: Path) -> None:
    run = tmp_path / "run"
    tiny.rewind(unbroken, run, "retrain/pick-2")
    (run / "retrain/pick-2").mkdir()
    (run / "retrain/pick-2/.key").write_text(tiny.manifest(unbroken)["stages"]["retrain/pick-2"]["key"])
    path = run / "retrain/pick-2/checkpoint.pt"
    path.write_bytes(b"damaged")
    assert_refused(command("retrain", *tiny.arguments(run)[1:]), str(path))
    path.unlink()
    code, output = command("retrain", *tiny.arguments(run)[1:])
    assert code == 0, output
    weights = "retrain/pick-2/weights.safetensors"
    assert (run / weights).read_bytes() == (unbroken / weights).read_bytes()


def nan(text: str) -> str:
    content = json.loads(text)
    content["model"]["coefficients"][next(iter(content["model"]["coefficients"]))] = float("nan")
    return json.dumps(content)


@pytest.mark.parametrize(
    ("damage", "culprit"),
    [
        (lambda text: text[: len(text) // 2], "is damaged"),
        (lambda text: "", "is damaged"),
        (nan, "is damaged: NaN is no JSON number"),
        (lambda text: text.replace('"ms"', '"s"'), "is not sound (unit: "),
        (lambda text: text.replace('"schema_version": 2', '"schema_version": 3'), "has schema version 3, newer than 2"),
        (lambda text: text.replace('"schema_version": 2', '"schema_version": 1'), "has schema version 1, this fairnas"),
        (lambda text: text.replace('"Google Pixel 1"', '"Google Pixel 9"'), "was changed after it was made"),
        (lambda text: "[]", "is damaged: expected an object"),
    ],
)
def test_a_corrupt_latency_table(command: Command, tmp_path: Path, damage: Callable[[str], str], culprit: str) -> None:
    shipped = Path(tables.__file__).parent / "tables" / "pixel1.json"
    path = tmp_path / "mine.json"
    path.write_text(damage(shipped.read_text()))
    run = tmp_path / "run"
    answer = command("search", "--preset", "tiny", "--run", str(run), "--set", f"latency.table={path}")
    assert_refused(answer, str(path), culprit)
    assert not (run / "latency").exists()
    assert temporaries(run) == []


def test_a_latency_table_that_is_not_there(command: Command, tmp_path: Path) -> None:
    answer = command("search", "--preset", "tiny", "--run", str(tmp_path / "run"), "--set", "latency.table=mine.json")
    assert_refused(answer, "no latency table 'mine.json'")


@pytest.mark.parametrize("content", ["", "[]", "{", '{"stages": {"supernet": {}}}', '{"stages": 3}'])
def test_a_corrupt_manifest(command: Command, tmp_path: Path, content: str) -> None:
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "manifest.json").write_text(content)
    answer = command(*tiny.arguments(tmp_path / "run"))
    assert_refused(answer, f"{tmp_path / 'run' / 'manifest.json'} is damaged")
    assert not (tmp_path / "run" / "supernet").exists()


# Folders that cannot be written.


def test_a_file_in_place_of_the_run_folder(command: Command, tmp_path: Path) -> None:
    (tmp_path / "run").write_text("mine")
    assert_refused(command(*tiny.arguments(tmp_path / "run")), f"cannot write to run folder {tmp_path / 'run'}")
    assert_refused(command(*tiny.arguments(tmp_path / "run" / "deeper")), "cannot write to run folder")
    assert (tmp_path / "run").read_text() == "mine"


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Path]:
    """A small disk of its own: root may write to a folder whatever its permissions say."""
    folder = tmp_path / "disk"
    folder.mkdir()
    if os.geteuid() != 0:
        pytest.skip("mounting a tmpfs needs root")
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=48m", "fairnas-test", str(folder)],
        capture_output=True,
        text=True,
        check=False,
    )
    if mounted.returncode:
        pytest.skip(f"a tmpfs cannot be mounted here: {mounted.stderr.strip()}")
    yield folder
    subprocess.run(["umount", "--lazy", str(folder)], check=True)


@pytest.mark.skipif(os.geteuid() == 0, reason="permissions do not bind root; a read-only disk is tested instead")
def test_a_run_folder_without_permission(command: Command, unbroken: Path, tmp_path: Path) -> None:
    run = tmp_path / "run"
    shutil.copytree(unbroken, run)
    (run / ".lock").unlink()
    run.chmod(0o555)
    try:
        assert_refused(command(*tiny.arguments(run)), f"cannot write to run folder {run}: Permission denied")
    finally:
        run.chmod(0o755)


@pytest.mark.parametrize("exists", [False, True])
def test_a_run_folder_on_a_read_only_disk(command: Command, unbroken: Path, disk: Path, exists: bool) -> None:
    run = disk / "run"
    if exists:
        shutil.copytree(unbroken, run)
    subprocess.run(["mount", "-o", "remount,ro", str(disk)], check=True)
    assert_refused(command(*tiny.arguments(run)), f"cannot write to run folder {run}: Read-only file system")
    if exists:
        assert_refused(command("report", "--run", str(run)), "Read-only file system", str(run))
    assert run.exists() == exists


@pytest.mark.parametrize("stage", ["supernet", "latency", "search", "retrain/pick-1", "export/pick-1", "report"])
@pytest.mark.parametrize("left", [0, 16, 64, 200], ids=lambda kib: f"{kib}KiB")
def test_a_full_disk(command: Command, unbroken: Path, disk: Path, stage: str, left: int) -> None:
    run = disk / "run"
    tiny.rewind(unbroken, run, stage)
    fill(disk, left)
    code, output = command(*tiny.arguments(run))
    if code == 0:  # what was left was enough for this stage
        assert left >= 64, output
        return
    assert_refused((code, output), str(disk))
    assert "space" in output.splitlines()[-1].lower()
    assert temporaries(run) == []
    # What is there is sound: with room again, the same command goes on.
    (disk / "filler").unlink()
    if stage in ("latency", "search", "report"):
        code, output = command(*tiny.arguments(run))
        assert code == 0, output
        assert (run / "search/pareto.csv").read_bytes() == (unbroken / "search/pareto.csv").read_bytes()


def fill(disk: Path, left: int) -> None:
    """Leave `left` KiB."""
    free = shutil.disk_usage(disk).free
    with (disk / "filler").open("wb") as file:
        file.write(bytes(max(0, free - left * 1024)))
    assert shutil.disk_usage(disk).free == left * 1024


def test_a_full_disk_from_the_start(command: Command, disk: Path) -> None:
    fill(disk, 0)
    assert_refused(command(*tiny.arguments(disk / "run")), f"{disk / 'run'}: No space left on device")
    assert temporaries(disk) == []
