"""The segmentation experiment: what is read, how it is judged, that it goes on where it stopped, one-line errors."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from fairnas.experiments.segmentation.__main__ import main
from fairnas.experiments.segmentation.experiment import run_experiment
from fairnas.experiments.segmentation.markdown import to_markdown
from fairnas.experiments.segmentation.miou import Confusion
from fairnas.experiments.segmentation.scenes import IGNORED, SceneSet, augmentation, load_scenes, train_batches
from fairnas.experiments.segmentation.training import Recipe, train
from fairnas.exporters.backbones.deeplab import build_deeplab
from fairnas.pipeline.errors import Paused, UserError
from fairnas.pipeline.runs.run import Workspace
from PIL import Image
from safetensors.torch import load_file, save_file

from .drawn_scenes import CLASSES, SIZE, draw_scenes

RECIPE = Recipe(epochs=2, batch_size=4, crop=32, warmup_epochs=0, checkpoint_seconds=0)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return draw_scenes(tmp_path_factory.mktemp("scenes"), counts=(8, 2, 3))


@pytest.fixture(scope="module")
def scenes(folder: Path) -> SceneSet:
    return load_scenes(folder)


def test_scenes_are_what_the_files_hold(folder: Path, scenes: SceneSet) -> None:
    assert scenes.classes == CLASSES
    assert [len(split) for split in (scenes.train, scenes.val, scenes.test)] == [8, 2, 3]
    assert scenes.test.pixels.shape == (3, 3, *SIZE)
    annotation = np.asarray(Image.open(folder / "testannot" / "002.png"))
    expected = np.where(annotation == len(CLASSES), IGNORED, annotation)
    assert np.array_equal(scenes.test.labels[2].numpy(), expected)
    picture = np.asarray(Image.open(folder / "test" / "002.jpg"))
    assert np.array_equal(scenes.test.pixels[2].permute(1, 2, 0).numpy(), picture)


def test_digest_knows_every_pixel(folder: Path, scenes: SceneSet, tmp_path: Path) -> None:
    draw_scenes(tmp_path, counts=(8, 2, 3))
    assert load_scenes(tmp_path).digest == scenes.digest
    path = tmp_path / "testannot" / "000.png"
    changed = np.asarray(Image.open(path)).copy()
    changed[0, 0] = 2
    Image.fromarray(changed).save(path)
    assert load_scenes(tmp_path).digest != scenes.digest


def test_labels_stay_with_their_pixels(scenes: SceneSet) -> None:
    torch.manual_seed(0)
    images, labels = next(train_batches(scenes.train, 8, augmentation(32, 0.3)))
    assert images.shape == (8, 3, 32, 32)
    assert set(labels.unique().tolist()) <= {0, 1, 2, IGNORED}
    # Cars are red and nothing else is, whatever part was taken, mirrored or not.
    redness = images[:, 0] - images[:, 2]
    assert redness[labels == 2].mean() > redness[labels == 0].mean() + 1
    assert redness[labels == 2].mean() > redness[labels == 1].mean() + 1


def test_intersection_over_union_by_hand() -> None:
    confusion = Confusion(4)
    labels = torch.tensor([[0, 0, 0, 1], [1, 1, IGNORED, IGNORED]])
    answers = torch.tensor([[0, 0, 1, 1], [0, 1, 3, 2]])
    confusion.add(answers[:1], labels[:1])
    confusion.add(answers[1:], labels[1:])
    assert confusion.class_iou() == [2 / 4, 2 / 4, None, None]
    assert confusion.miou() == 0.5
    assert confusion.pixel_accuracy() == 4 / 6


def test_an_interrupted_training_ends_where_an_unbroken_one_does(scenes: SceneSet, tmp_path: Path) -> None:
    def weights(folder: Path, interrupted: bool) -> dict[str, torch.Tensor]:
        folder.mkdir()
        for _ in range(RECIPE.epochs + 1):
            torch.manual_seed(3)
            segmenter = build_deeplab("fairnas_c", len(CLASSES), width=0.25)
            try:
                deadline = time.monotonic() if interrupted else None
                train("test", segmenter, scenes.train, RECIPE, 0, Workspace(folder, deadline))
            except Paused:
                continue
            return segmenter.state_dict()
        raise AssertionError("it never ended")

    unbroken, broken = weights(tmp_path / "unbroken", False), weights(tmp_path / "broken", True)
    for name, tensor in unbroken.items():
        assert torch.equal(tensor, broken[name]), name


def test_rows_are_kept_and_said_where_they_come_from(scenes: SceneSet, tmp_path: Path) -> None:
    torch.manual_seed(0)
    classifier = build_deeplab("fairnas_c", 3).backbone.state_dict()
    save_file(classifier, tmp_path / "fairnas_c.safetensors")
    recipe = RECIPE.model_copy(update={"epochs": 1})
    given: dict[str, Any] = {"recipe": recipe, "seed": 0, "folder": tmp_path / "run", "out": tmp_path / "results.json"}
    weights = str(tmp_path / "{name}.safetensors")
    first = run_experiment(scenes, ["fairnas_c"], weights, **given)
    both = run_experiment(scenes, ["fairnas_c", "mobilenetv2_100"], weights, **given)
    assert both["backbones"][0] == first["backbones"][0]  # not trained again
    assert [row["pretrained"] for row in both["backbones"]] == [True, False]
    assert json.loads((tmp_path / "results.json").read_text()) == both
    assert {"n", "seed", "seconds", "machine", "versions", "commit", "protocol"} <= both.keys()
    for row in both["backbones"]:
        assert row["onnx_parity"]["max_relative_difference"] < 1e-4
        assert set(row["class_iou"]) == set(CLASSES)
        assert f"| `{row['backbone']}` |" in to_markdown(both)
    trained = load_file(tmp_path / "run" / "fairnas_c" / "weights.safetensors")
    assert any(not torch.equal(trained[f"backbone.{name}"], tensor) for name, tensor in classifier.items())


def test_mistakes_are_answered_in_one_line(folder: Path, scenes: SceneSet, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"classes\.txt"):
        load_scenes(tmp_path / "nowhere")
    with pytest.raises(UserError, match="fill no batch"):
        run_experiment(
            scenes, ["fairnas_c"], None, Recipe(batch_size=9), seed=0, folder=tmp_path, out=tmp_path / "results.json"
        )
    wrong: list[tuple[dict[str, Any], str]] = [
        ({"data": tmp_path / "nowhere"}, "classes.txt"),
        ({"data": folder, "settings": ["epochs=0"]}, "--set epochs"),
        ({"data": folder, "settings": ["epoch=1"]}, "--set epoch"),
        ({"data": folder, "settings": ["epochs"]}, "KEY=VALUE"),
        ({"data": folder, "split": "train"}, "val or test"),
    ]
    for arguments, message in wrong:
        with pytest.raises(UserError, match=message):
            main(**arguments)
    answer = subprocess.run(
        [sys.executable, "-m", "fairnas.experiments.segmentation", "--data", str(folder), "--backbones", "fairnas_z"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
    )
    assert answer.returncode == 1
    assert "error: unknown network 'fairnas_z'" in answer.stderr
    assert "Traceback" not in answer.stderr
