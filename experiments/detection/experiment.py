"""Detection: RetinaNet with several backbones under one recipe, on pictures of people.

Each backbone starts from a classifier's weights, learns eight pictures by heart (a detector that cannot do that is
broken), then, from the start again, trains on all but the held-out pictures and is judged on those.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from importlib import metadata
from pathlib import Path
from typing import Any

import torch
from PIL import Image
from safetensors.torch import save
from torchvision.transforms.functional import normalize, to_tensor

from ...common.files import sha256_file, write_atomic, write_json
from ...exporters.backbones.onnx import export_backbone
from ...pipeline.errors import UserError
from ...pipeline.runs.provenance import commit, machine
from ...pipeline.runs.run import Run, Stage, Workspace, versions
from .people import OVERFIT, People
from .training import Recipe, clear, train_and_judge

VERSION = 1
TARGET_AP50 = 0.6
"""What every detector must reach on the pictures that it learns by heart."""
LIBRARIES = ("onedl-mmcv", "onedl-mmengine", "onedl-mmdetection")


def run_experiment(
    people: People,
    backbones: Sequence[str],
    weights: Mapping[str, Path],
    recipe: Recipe,
    *,
    seed: int,
    folder: Path,
    out: Path,
) -> dict[str, Any]:
    """Train and judge every backbone that is not finished, and write the results after each.

    Args:
        people: the pictures.
        backbones: names or architectures.
        weights: trained classifiers' files, by backbone; those without start from random weights.
        recipe: the same for all.
        seed: of everything random.
        folder: the run's.
        out: the results file.

    Raises:
        UserError: a backbone is named twice, weights are of none, or there are none.
    """
    if len(set(backbones)) < len(backbones):
        raise UserError("a backbone is named twice")
    if unused := sorted(weights.keys() - set(backbones)):
        raise UserError(f"--weights {unused[0]}=...: it is none of the backbones {', '.join(backbones)}")
    if missing := [path for path in weights.values() if not path.is_file()]:
        raise UserError(f"there is no file {missing[0]}")
    rows: list[dict[str, Any]] = []
    figures: dict[str, Any] = {}
    with Run(folder) as run:
        for name in backbones:
            row: dict[str, Any] = {"backbone": name, "pretrained": name in weights}
            for part, judged in (("overfit", "overfit"), ("train", "heldout")):
                stage = _stage(name, weights.get(name), people, part, judged, recipe, seed)
                run.execute(stage)
                result = json.loads((folder / stage.name / "result.json").read_text())
                row[part] = result | {"resumed": run.manifest["stages"][stage.name]["resumed"]}
            rows.append(row)
            figures = _figures(rows, people, recipe, seed)
            write_json(out, figures)
    return figures


def _stage(name: str, weights: Path | None, people: People, part: str, judged: str, recipe: Recipe, seed: int) -> Stage:
    def work(workspace: Workspace) -> None:
        folder = workspace.folder
        detector, result = train_and_judge(name, weights, people, part, judged, recipe, seed, folder)
        if part == "train":
            images = torch.stack([_image(people, entry, recipe.size) for entry in people.parts[judged][:OVERFIT]])
            content, parities = export_backbone(detector, images)
            worst = max(parities, key=lambda parity: parity.max_relative_difference)
            result |= {
                "params": sum(parameter.numel() for parameter in detector.parameters()),
                "onnx_parity": asdict(worst),
            }
            tensors = {key: tensor.contiguous() for key, tensor in detector.state_dict().items()}
            write_atomic(folder / "weights.safetensors", save(tensors))
            write_atomic(folder / "backbone.onnx", content)
        clear(folder)
        write_json(folder / "result.json", result)

    iterations = {"overfit": "iterations", "train": "overfit_iterations"}[part]  # the other part's do not count
    return Stage(
        name=f"{name.replace(':', '-')}/{part}",
        version=VERSION,
        config=recipe.model_dump(exclude={iterations}) | {"backbone": name, "seed": seed},
        inputs={"people": people.digest, "weights": sha256_file(weights) if weights else "random"},
        outputs=("result.json", *(("weights.safetensors", "backbone.onnx") if part == "train" else ())),
        work=work,
    )


def _image(people: People, entry: Mapping[str, Any], size: int) -> torch.Tensor:
    """A picture as the detector is given it, but for its shape: `[3, size, size]`."""
    with Image.open(people.folder / entry["image"]) as image:
        pixels = to_tensor(image.convert("RGB").resize((size, size)))
    return normalize(pixels, [0.485, 0.456, 0.406], [0.229, 0.224, 0.225])


def _figures(rows: Sequence[Mapping[str, Any]], people: People, recipe: Recipe, seed: int) -> dict[str, Any]:
    return {
        "backbones": list(rows),
        "protocol": {
            "model": "RetinaNet of MMDetection (retinanet_small.py), features after the depthwise convolutions",
            "recipe": recipe.model_dump(),
            "images": {part: len(entries) for part, entries in people.parts.items()},
            "people": {
                part: sum(len(each["boxes_xyxy"]) for each in entries) for part, entries in people.parts.items()
            },
            "overfit": f"trained and judged on the same {OVERFIT} pictures",
            "overfit_target_ap50": TARGET_AP50,
            "judging": "COCO's metric by MMDetection, the weights of the last iteration",
            "source": people.digest,
        },
        "n": len(people.parts["heldout"]),
        "seeds": 1,
        "seed": seed,
        "seconds": round(sum(row[part]["seconds"] for row in rows for part in ("overfit", "train")), 1),
        "machine": {key: value for key, value in machine().items() if key != "system"},
        "versions": versions() | {name: metadata.version(name) for name in LIBRARIES},
        "commit": commit(),
    }
