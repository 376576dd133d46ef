"""One backbone, from scenes to a checked file: what is learnt in a minute."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest

from ..experiments.drawn_scenes import draw_scenes

EPOCHS = 12


@pytest.fixture(scope="module")
def figures(tmp_path_factory: pytest.TempPathFactory) -> dict:
    folder = tmp_path_factory.mktemp("segmentation")
    draw_scenes(folder / "scenes", counts=(48, 4, 16))
    command = [sys.executable, "-m", "fairnas.experiments.segmentation", "--data", "scenes", "--backbones", "fairnas_c"]
    # From random weights batch norm's statistics need some 100 updates: what they began with outweighs small variances.
    settings = [f"epochs={EPOCHS}", "batch_size=4", "crop=64", "smallest_part=0.5", "warmup_epochs=0"]
    answer = subprocess.run(
        [*command, *(f"--set={each}" for each in settings), "--run", "run", "--out", "results.json"],
        cwd=folder,
        check=True,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert "| `fairnas_c` | random weights |" in answer.stdout
    losses = [
        json.loads(line)["train_loss"] for line in (folder / "run/fairnas_c/metrics.jsonl").read_text().split("\n")[:-1]
    ]
    return json.loads((folder / "results.json").read_text()) | {"losses": losses}


def test_loss_falls_and_classes_are_found(figures: dict) -> None:
    losses, row = figures["losses"], figures["backbones"][0]
    assert len(losses) == EPOCHS
    assert losses[-1] < 0.75 * losses[0]
    # Calling everything road would reach 0.16.
    assert row["miou"] > 0.45
    assert row["pixel_accuracy"] > 0.7


def test_the_exported_file_agrees_with_pytorch(figures: dict) -> None:
    parity = figures["backbones"][0]["onnx_parity"]
    assert parity["images"] == 16
    assert parity["max_relative_difference"] < 1e-4
    assert parity["top1_agreement"] > 0.9999


def test_cost_is_that_of_the_paper_but_for_the_classes(figures: dict) -> None:
    assert figures["backbones"][0]["params"] == 3_006_549 - 257 * (21 - 3)
