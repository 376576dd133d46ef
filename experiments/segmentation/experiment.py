"""CamVid: DeepLabv3+ with several backbones under one recipe, each trained, judged on the test split and exported.

`python -m fairnas.experiments.segmentation --data FOLDER` writes results/segmentation.json; stopped, it goes on.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any, Literal

import torch
from safetensors.torch import save
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from ...common.files import sha256_file, write_atomic, write_json
from ...exporters import compare, onnx_logits
from ...exporters.backbones.deeplab import OUTPUT_STRIDE, build_deeplab
from ...exporters.backbones.weights import load_backbone_weights
from ...exporters.onnx.export import traced
from ...models import Cost
from ...pipeline.errors import UserError
from ...pipeline.runs.provenance import commit, machine
from ...pipeline.runs.run import Run, Stage, Workspace, versions
from ...pipeline.training.weights import given_weights
from .scenes import SPLITS, Scenes, SceneSet, normalised
from .training import Recipe, evaluate, train

VERSION = 1
BACKBONES = ("fairnas_a", "fairnas_b", "fairnas_c", "fairnas_c_se", "mobilenetv2_100")
Split = Literal["val", "test"]
OUTPUTS = ("weights.safetensors", "segmenter.onnx", "result.json", "metrics.jsonl")
PARITY_IMAGES = 16
PARITY_TOLERANCE = 1e-3
"""Of logits, relative to the largest; a pixel between two classes may change sides."""


def run_experiment(
    scenes: SceneSet,
    backbones: Sequence[str],
    weights: str | None,
    recipe: Recipe,
    *,
    seed: int,
    folder: Path,
    out: Path,
    split: Split = "test",
) -> dict[str, Any]:
    """Train and judge every backbone that is not finished, and write the results after each.

    Args:
        scenes: the pictures.
        backbones: names as `build_deeplab` takes them.
        weights: path of a trained classifier, with `{name}` for the backbone's; where there is none, and without a
            path, the backbone starts from random weights.
        recipe: the same for all.
        seed: of everything random.
        folder: the run's.
        out: the results file.
        split: what is judged on; a recipe is chosen on `val`.

    Raises:
        UserError: a backbone is named twice, none has weights there, or the pictures are fewer than a batch.
    """
    if len(set(backbones)) < len(backbones):
        raise UserError("a backbone is named twice")
    if len(scenes.train) < recipe.batch_size:
        raise UserError(f"{len(scenes.train)} training pictures fill no batch of {recipe.batch_size}")
    files = given_weights(weights, backbones)
    with Run(folder) as run:
        rows: list[dict[str, Any]] = []
        figures: dict[str, Any] = {}
        for name in backbones:
            stage = _stage(name, files.get(name), scenes, recipe, seed, split)
            run.execute(stage)
            entry = run.manifest["stages"][stage.name]
            rows.append(
                json.loads((folder / stage.name / "result.json").read_text())
                | {key: entry[key] for key in ("seconds", "resumed")}
            )
            figures = _figures(rows, scenes, recipe, seed, split)
            write_json(out, figures)
    return figures


def _stage(name: str, weights: Path | None, scenes: SceneSet, recipe: Recipe, seed: int, split: Split) -> Stage:
    return Stage(
        name=name.replace(":", "-"),
        version=VERSION,
        config=recipe.model_dump(exclude={"checkpoint_seconds"}) | {"backbone": name, "seed": seed, "split": split},
        inputs={"scenes": scenes.digest, "weights": sha256_file(weights) if weights else "random"},
        outputs=OUTPUTS,
        work=lambda workspace: _train_and_judge(name, weights, scenes, recipe, seed, split, workspace),
    )


def _train_and_judge(
    name: str, weights: Path | None, scenes: SceneSet, recipe: Recipe, seed: int, split: Split, workspace: Workspace
) -> None:
    torch.manual_seed(seed)
    classes = len(scenes.classes)
    segmenter = build_deeplab(name, classes)
    if weights is not None:
        load_backbone_weights(segmenter, weights)
    trained = train(name, segmenter, scenes.train, recipe, seed, workspace)
    judged: Scenes = getattr(scenes, split)
    confusion = evaluate(segmenter, judged, classes)
    segmenter.cpu().eval()
    shape = (1, 3, *judged.labels.shape[1:])
    content = traced(segmenter, shape).SerializeToString(deterministic=True)
    images = normalised(judged.first(PARITY_IMAGES).pixels).contiguous()
    parity = compare(segmenter, onnx_logits(content), images.split(1))
    if not parity.max_relative_difference <= PARITY_TOLERANCE:
        raise UserError(f"{name}: ONNX Runtime's logits differ by {parity.max_relative_difference:.2g} from PyTorch's")
    cost = _cost(segmenter, shape)
    row = {
        "backbone": name,
        "pretrained": weights is not None,
        "miou": round(confusion.miou(), 5),
        "class_iou": dict(zip(scenes.classes, map(_rounded, confusion.class_iou()), strict=True)),
        "pixel_accuracy": round(confusion.pixel_accuracy(), 5),
        "images": len(judged),
        "params": cost.params,
        "madds": cost.madds,
        "train_loss": round(trained.loss, 4),
        "train_seconds": trained.seconds,
        "onnx_parity": asdict(parity),
    }
    tensors = {key: tensor.contiguous() for key, tensor in segmenter.state_dict().items()}
    write_atomic(workspace.folder / "weights.safetensors", save(tensors))
    write_atomic(workspace.folder / "segmenter.onnx", content)
    write_json(workspace.folder / "result.json", row)


def _rounded(value: float | None) -> float | None:
    return None if value is None else round(value, 5)


def _cost(segmenter: nn.Module, shape: Sequence[int]) -> Cost:
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        segmenter(torch.zeros(*shape))
    return Cost(sum(parameter.numel() for parameter in segmenter.parameters()), counter.get_total_flops() // 2)


def _figures(
    rows: Sequence[Mapping[str, Any]], scenes: SceneSet, recipe: Recipe, seed: int, split: Split
) -> dict[str, Any]:
    judged: Scenes = getattr(scenes, split)
    height, width = judged.labels.shape[1:]
    return {
        "backbones": list(rows),
        "protocol": {
            "model": f"DeepLabv3+ as in the FairNAS paper: output stride {OUTPUT_STRIDE}, no ASPP, no decoder",
            "recipe": recipe.model_dump(exclude={"checkpoint_seconds"}),
            "images": {part: len(getattr(scenes, part)) for part in SPLITS},
            "size": [width, height],
            "classes": list(scenes.classes),
            "split": split,
            "judging": "whole pictures, one scale, not mirrored, the weights of the last epoch; the recipe was chosen "
            "on val, with one backbone",
            "source": scenes.digest,
        },
        "n": len(judged),
        "seeds": 1,
        "seed": seed,
        "seconds": round(sum(row["seconds"] for row in rows), 1),
        "machine": {key: value for key, value in machine().items() if key != "system"},
        "versions": versions(),
        "commit": commit(),
    }
