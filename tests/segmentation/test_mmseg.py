"""Our backbone in MMSegmentation, from configs that import our package alone."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import fairnas.exporters
import pytest
import timm
import torch
from fairnas.exporters.backbones.deeplab import build_deeplab
from fairnas.exporters.backbones.onnx import export_backbone
from safetensors.torch import save_file

from ..experiments.drawn_scenes import CLASSES, draw_scenes

pytest.importorskip("mmseg")
from mmengine.config import Config  # pyright: ignore[reportMissingImports]
from mmengine.registry import init_default_scope  # pyright: ignore[reportMissingImports]
from mmengine.runner import Runner  # pyright: ignore[reportMissingImports]

CONFIGS = Path(fairnas.exporters.__file__).parent / "mmseg_configs"


def read(name: str) -> Config:
    config = Config.fromfile(CONFIGS / f"deeplabv3plus_fairnas_c_{name}.py")
    init_default_scope(config.default_scope)
    return config


def build(config: Config) -> Any:
    from mmseg.registry import MODELS  # pyright: ignore[reportMissingImports]

    return MODELS.build(config.model)


@pytest.mark.parametrize(("letter", "params"), [("a", 3_260_037), ("b", 3_114_957), ("c", 3_006_549)])
def test_the_papers_network_has_its_parameters(letter: str, params: int) -> None:
    config = read("voc12aug")
    config.model.backbone.arch = f"fairnas_{letter}"
    model = build(config)
    assert sum(parameter.numel() for parameter in model.parameters()) == params
    ours = build_deeplab(f"fairnas_{letter}", 21)
    assert sum(parameter.numel() for parameter in ours.parameters()) == params


def test_weights_of_a_classifier_go_into_the_backbone(tmp_path: Path) -> None:
    path = tmp_path / "weights.safetensors"
    classifier = timm.create_model("fairnas_c", num_classes=10)
    save_file(classifier.state_dict(), path)
    config = read("voc12aug")
    config.merge_from_dict(
        {"model.backbone.init_cfg.type": "Pretrained", "model.backbone.init_cfg.checkpoint": str(path)}
    )
    model = build(config)
    model.init_weights()
    name = "blocks.5.4.conv_dw.weight"
    assert torch.equal(model.backbone.network.state_dict()[name], classifier.state_dict()[name])
    features = model.extract_feat(torch.randn(1, 3, 64, 64))
    assert [tuple(feature.shape) for feature in features] == [(1, 320, 4, 4)]
    parities = export_backbone(model, torch.randn(2, 3, 64, 64))[1]
    assert [parity.images for parity in parities] == [2]


def test_it_trains_and_the_librarys_evaluator_judges(tmp_path: Path) -> None:
    scenes = draw_scenes(tmp_path / "scenes", counts=(16, 2, 6))
    config = read("camvid")
    iterations, loaders = 12, ("train_dataloader", "val_dataloader", "test_dataloader")
    config.merge_from_dict(
        {
            "work_dir": str(tmp_path / "work"),
            "train_cfg.max_iters": iterations,
            "train_cfg.val_interval": iterations,
            "train_dataloader.batch_size": 4,
            "model.decode_head.num_classes": len(CLASSES),
            "model.data_preprocessor.size": (64, 64),
            "default_hooks.logger.interval": 1,
            **{f"{loader}.num_workers": 0 for loader in loaders},
            **{f"{loader}.persistent_workers": False for loader in loaders},
            **{f"{loader}.dataset.data_root": str(scenes) for loader in loaders},
            **{f"{loader}.dataset.metainfo.classes": CLASSES for loader in loaders},
        }
    )
    # The scenes' void has the number after their classes.
    void = len(CLASSES)
    config.merge_from_dict(
        {
            "model.decode_head.ignore_index": void,
            "model.data_preprocessor.seg_pad_val": void,
            "val_evaluator.ignore_index": void,
            "test_evaluator.ignore_index": void,
        }
    )
    for step in config.train_dataloader.dataset.pipeline:
        if step.type == "RandomResize":
            step.scale = (96, 64)
        elif step.type == "RandomCrop":
            step.crop_size, step.ignore_index = (64, 64), void
    runner = Runner.from_cfg(config)
    runner.train()
    log = next((tmp_path / "work").rglob("vis_data/scalars.json"))
    rows = [json.loads(line) for line in log.read_text().splitlines()]
    losses = [row["loss"] for row in rows if "loss" in row]
    assert len(losses) == iterations
    assert sum(losses[-4:]) < sum(losses[:4])
    judged = next(row["mIoU"] for row in rows if "mIoU" in row)
    assert math.isfinite(judged)
    assert 0 < judged <= 100
    answer = runner.test()
    assert answer["mIoU"] == pytest.approx(judged, abs=0.01)
