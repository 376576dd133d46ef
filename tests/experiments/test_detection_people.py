"""Pictures of people: how they are split and written as COCO annotations, and what the command says to mistakes."""

from __future__ import annotations

import importlib.util
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from fairnas.experiments.detection.people import load_people
from fairnas.pipeline.errors import UserError


def folder_of(folder: Path, pictures: int = 20) -> Path:
    entries: list[dict[str, Any]] = []
    for number in range(pictures):
        name = f"{number}.png"
        (folder / name).touch()
        boxes = [[number, 2, number + 10, 42]] * (1 + number % 2)
        entries.append({"image": name, "width": 100, "height": 50, "boxes_xyxy": boxes, "label": "person"})
    (folder / "annotations.json").write_text(json.dumps(entries))
    return folder


def test_parts_are_disjoint_and_follow_the_seed(tmp_path: Path) -> None:
    parts = [load_people(folder_of(tmp_path), seed).parts for seed in (0, 0, 1)]
    names = [{part: [entry["image"] for entry in entries] for part, entries in each.items()} for each in parts]
    assert names[0] == names[1]
    assert set(names[0]["heldout"]) != set(names[2]["heldout"])
    for each in names:
        assert sorted(each["train"] + each["heldout"], key=lambda name: int(name[:-4])) == [
            f"{number}.png" for number in range(20)
        ]
        assert len(each["heldout"]) == 4
        assert each["overfit"] == each["train"][:8]


def test_coco_annotations(tmp_path: Path) -> None:
    people = load_people(folder_of(tmp_path), seed=0)
    coco = people.coco("heldout")
    assert coco["categories"] == [{"id": 1, "name": "person"}]
    assert [image["id"] for image in coco["images"]] == [1, 2, 3, 4]
    assert [each["id"] for each in coco["annotations"]] == list(range(1, 1 + len(coco["annotations"])))
    for image in coco["images"]:
        number = int(image["file_name"][:-4])
        boxes = [each for each in coco["annotations"] if each["image_id"] == image["id"]]
        assert len(boxes) == 1 + number % 2
        assert all(each["bbox"] == [number, 2, 10, 40] and each["area"] == 400 for each in boxes)


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda folder: (folder / "annotations.json").unlink(), "cannot read"),
        (lambda folder: (folder / "annotations.json").write_text("{}"), "too few"),
        (lambda folder: (folder / "annotations.json").write_text("[1]"), "no list of pictures"),
        (lambda folder: (folder / "3.png").unlink(), "3.png is missing"),
        (lambda folder: folder_of(folder, 9), "too few"),
        (
            lambda folder: (folder / "annotations.json").write_text(
                json.dumps([{"image": "0.png", "width": 1, "height": 1, "boxes_xyxy": [[5, 5, 5, 9]]}])
            ),
            "a box is empty",
        ),
    ],
)
def test_mistakes_are_named(tmp_path: Path, damage: Any, message: str) -> None:
    damage(folder_of(tmp_path))
    with pytest.raises(UserError, match=message):
        load_people(tmp_path, seed=0)


@pytest.mark.skipif(importlib.util.find_spec("mmengine") is not None, reason="MMEngine is installed here")
def test_without_mmdetection_the_command_says_what_to_install(tmp_path: Path) -> None:
    folder_of(tmp_path)
    done = subprocess.run(
        [sys.executable, "-m", "fairnas.experiments.detection", "--data", tmp_path], capture_output=True, text=True
    )
    assert done.returncode == 1
    (line,) = done.stderr.splitlines()
    assert "pip install 'fairnas[detection]'" in line
