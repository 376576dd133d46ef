"""The experiment on drawn pictures: a detector learns, is judged, leaves as ONNX, and goes on when stopped."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from unittest.mock import Mock

import mmdet  # pyright: ignore[reportMissingImports]
import numpy as np
import onnxruntime
import pytest
import torch
from fairnas.experiments.detection import training
from fairnas.experiments.detection.experiment import run_experiment
from fairnas.experiments.detection.markdown import to_markdown
from fairnas.experiments.detection.people import People, load_people
from fairnas.experiments.detection.training import Recipe
from fairnas.exporters.backbones.mmdet import CONFIGS
from fairnas.pipeline.errors import UserError

from .drawn_people import draw_people

RECIPE = Recipe(size=64, batch_size=8, lr=3e-3, overfit_iterations=80, iterations=60)


@pytest.fixture(scope="module")
def people(tmp_path_factory: pytest.TempPathFactory) -> People:
    return load_people(draw_people(tmp_path_factory.mktemp("drawn") / "people", 30), seed=0)


@pytest.fixture(scope="module")
def finished(people: People, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, Any]]:
    folder = tmp_path_factory.mktemp("finished")
    return folder, experiment(people, folder)


def experiment(people: People, folder: Path, recipe: Recipe = RECIPE) -> dict[str, Any]:
    return run_experiment(people, ["fairnas_c"], {}, recipe, seed=0, folder=folder / "run", out=folder / "results.json")


def test_a_detector_learns(finished: tuple[Path, dict[str, Any]]) -> None:
    folder, figures = finished
    assert json.loads((folder / "results.json").read_text()) == figures
    (row,) = figures["backbones"]
    for part in ("overfit", "train"):
        assert row[part]["loss_last"] < row[part]["loss_first"] / 2
    assert row["overfit"]["ap50"] >= 0.6
    assert 0 < row["train"]["ap"] <= row["train"]["ap50"] <= 1
    assert not row["pretrained"]
    assert figures["n"] == 6
    assert figures["protocol"]["images"] == {"train": 24, "heldout": 6, "overfit": 8}


def test_backbone_and_neck_answer_in_onnx_as_in_pytorch(finished: tuple[Path, dict[str, Any]]) -> None:
    folder, figures = finished
    assert figures["backbones"][0]["train"]["onnx_parity"]["max_relative_difference"] < 1e-4
    session = onnxruntime.InferenceSession(folder / "run/fairnas_c/train/backbone.onnx")
    levels: Any = session.run(None, {"images": np.zeros((2, 3, 96, 64), np.float32)})
    assert [level.shape for level in levels] == [(2, 64, 12, 8), (2, 64, 6, 4), (2, 64, 3, 2)]


def test_what_is_finished_is_not_done_again(
    finished: tuple[Path, dict[str, Any]], people: People, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder, figures = finished
    monkeypatch.setattr(training.Runner, "train", lambda runner: pytest.fail("trained again"))
    assert experiment(people, folder)["backbones"] == figures["backbones"]


def test_a_table_is_made(finished: tuple[Path, dict[str, Any]]) -> None:
    _, figures = finished
    text = to_markdown(figures)
    row = figures["backbones"][0]
    assert f"| `fairnas_c` | random weights | {row['overfit']['ap50']:.3f} | {row['train']['ap']:.3f} |" in text


def test_a_stopped_training_goes_on(people: People, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    recipe = RECIPE.model_copy(update={"overfit_iterations": 32, "iterations": 10})
    seen: list[int] = []
    after = training._Watch.after_train_iter

    def stop_at(iteration: int | None) -> None:
        def watch(self: Any, runner: Any, batch_idx: int, data_batch: Any = None, outputs: Any = None) -> None:
            seen.append(runner.iter)
            if runner.iter == iteration:
                raise KeyboardInterrupt
            after(self, runner, batch_idx, data_batch, outputs)

        monkeypatch.setattr(training._Watch, "after_train_iter", watch)

    stop_at(28)
    with pytest.raises(KeyboardInterrupt):
        experiment(people, tmp_path, recipe)
    assert seen == list(range(29))
    seen.clear()
    stop_at(None)
    (row,) = experiment(people, tmp_path, recipe)["backbones"]
    assert seen == [*range(25, 32), *range(10)]
    assert row["overfit"]["resumed"]
    assert row["overfit"]["loss_first"] is None
    assert not row["train"]["resumed"]
    assert sorted(path.name for path in (tmp_path / "run/fairnas_c/overfit").iterdir()) == ["result.json"]


def test_pictures_are_mirrored_as_without_the_interruption() -> None:
    watch = training._Watch(Mock())
    watch.after_train_iter(SimpleNamespace(seed=3, iter=24), 24, outputs={"loss": torch.tensor(1.0)})
    unbroken = np.random.random(8)
    watch.before_train(SimpleNamespace(seed=3, iter=25))  # where a checkpoint after 25 iterations goes on
    assert np.array_equal(np.random.random(8), unbroken)


def test_mmdetections_own_command_takes_our_configs(people: People, tmp_path: Path) -> None:
    for part in ("train", "heldout"):
        (people.folder / f"{part}.json").write_text(json.dumps(people.coco(part)))
    config = tmp_path / "mine.py"
    config.write_text(
        f'_base_ = ["{CONFIGS / "retinanet_small.py"}"]\n'
        f'root = "{people.folder}/"\n'
        "train_dataloader = dict(batch_size=2, dataset=dict(data_root=root))\n"
        "val_dataloader = dict(dataset=dict(data_root=root))\n"
        "test_dataloader = val_dataloader\n"
        'val_evaluator = dict(ann_file=root + "heldout.json")\n'
        "test_evaluator = val_evaluator\n"
        "train_cfg = dict(max_iters=2, val_interval=2)\n"
    )
    command = Path(str(mmdet.__file__)).with_name(".mim") / "tools" / "train.py"
    done = subprocess.run(
        [sys.executable, command, config, "--work-dir", tmp_path / "work"], capture_output=True, text=True, cwd=tmp_path
    )
    assert done.returncode == 0, done.stderr[-2000:]
    assert (tmp_path / "work" / "iter_2.pth").is_file()


@pytest.mark.parametrize(
    ("backbones", "weights", "message"),
    [
        (["fairnas_c", "fairnas_c"], {}, "named twice"),
        (["fairnas_c"], {"fairnas_a": Path("a.safetensors")}, "none of the backbones"),
        (["fairnas_c"], {"fairnas_c": Path("none.safetensors")}, "there is no file"),
    ],
)
def test_mistakes_are_named(
    people: People, tmp_path: Path, backbones: list[str], weights: dict[str, Path], message: str
) -> None:
    with pytest.raises(UserError, match=message):
        run_experiment(people, backbones, weights, RECIPE, seed=0, folder=tmp_path, out=tmp_path / "results.json")
