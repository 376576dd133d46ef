"""The backbone in MMDetection: configs build, classifiers' weights load, frozen is frozen."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import timm
import torch
from fairnas.exporters import ExportError
from fairnas.exporters.backbones.mmdet import CONFIGS, FairNAS, retinanet_config
from fairnas.models.backbone_features import modules_until
from mmdet.registry import MODELS  # pyright: ignore[reportMissingImports]
from mmengine.config import Config  # pyright: ignore[reportMissingImports]
from mmengine.registry import init_default_scope  # pyright: ignore[reportMissingImports]
from safetensors.torch import save_file
from torch import nn

BACKBONES = ["fairnas_a", "fairnas_b", "fairnas_c", "fairnas_c_se", "mobilenetv2_100"]


def built(config: Any) -> Any:
    init_default_scope("mmdet")
    return MODELS.build(config.model)


@pytest.mark.parametrize("path", sorted(CONFIGS.glob("*.py")), ids=lambda path: path.stem)
def test_shipped_configs_build_and_their_necks_fit(path: Path) -> None:
    detector = built(Config.fromfile(path))
    assert [conv.conv.in_channels for conv in detector.neck.lateral_convs] == detector.backbone.out_channels[1:]
    levels = detector.extract_feat(torch.randn(2, 3, 64, 96))
    assert [64 // level.shape[2] for level in levels[:3]] == [8, 16, 32]


@pytest.mark.parametrize("name", ["retinanet_coco", "retinanet_small"])
@pytest.mark.parametrize("arch", BACKBONES)
def test_every_backbone_fits_every_config(arch: str, name: str) -> None:
    detector = built(retinanet_config(name, arch))
    scores, boxes = detector.bbox_head(detector.extract_feat(torch.randn(2, 3, 64, 64)))
    assert len(scores) == len(boxes) == (5 if name == "retinanet_coco" else 3)
    torch.stack([level.mean() for level in (*scores, *boxes)]).sum().backward()
    for parameter_name, parameter in detector.named_parameters():
        assert parameter.requires_grad == (parameter.grad is not None), parameter_name


def test_the_papers_schedule() -> None:
    config = Config.fromfile(CONFIGS / "retinanet_coco.py")
    assert config.model.backbone == {"type": "FairNAS", "arch": "fairnas_c", "feature_location": "expansion"}
    assert config.model.neck.in_channels == [96, 120, 288, 1152]
    assert config.model.neck.out_channels == 256
    assert config.optim_wrapper.optimizer.lr == 0.01
    assert config.train_cfg.max_epochs == 12
    assert config.param_scheduler[1].milestones == [8, 11]
    assert config.param_scheduler[1].gamma == 0.1
    assert config.auto_scale_lr.base_batch_size == 8 * config.train_dataloader.batch_size == 16
    loss = config.model.bbox_head.loss_cls
    assert (loss.type, loss.gamma, loss.alpha) == ("FocalLoss", 2.0, 0.25)


@pytest.mark.parametrize("arch", ["fairnas_c_se", "mobilenetv2_100"])
def test_a_classifiers_weights_load(arch: str, tmp_path: Path) -> None:
    classifier: Any = timm.create_model(arch, num_classes=7).eval()
    save_file(classifier.state_dict(), tmp_path / "weights.safetensors")
    detector = built(retinanet_config("retinanet_small", arch, weights=tmp_path / "weights.safetensors"))
    detector.init_weights()
    for name, tensor in detector.backbone.network.state_dict().items():
        assert torch.equal(tensor, classifier.state_dict()[name]), name
    images = torch.randn(1, 3, 64, 64)
    with torch.inference_mode():
        last = classifier.bn2(classifier.conv_head(classifier.blocks(classifier.bn1(classifier.conv_stem(images)))))
        backbone = FairNAS(arch, out_indices=(4,)).eval()
        backbone.network.load_state_dict(detector.backbone.network.state_dict())
        ours = classifier.bn2(classifier.conv_head(backbone(images)[0]))
        torch.testing.assert_close(ours, last, rtol=1e-3, atol=1e-4)  # another layout, another order of sums


def test_wrong_weights_are_refused(tmp_path: Path) -> None:
    save_file(timm.create_model("fairnas_a").state_dict(), tmp_path / "a.safetensors")
    with pytest.raises(ExportError, match="does not hold the weights of this backbone"):
        built(retinanet_config("retinanet_small", "fairnas_c", weights=tmp_path / "a.safetensors")).init_weights()
    wrong: list[Any] = [
        {"type": "Pretrained", "checkpoint": "weights.pth"},
        {"type": "Kaiming", "layer": "Conv2d"},
        [{"type": "Pretrained", "checkpoint": "weights.safetensors"}],
    ]
    for init_cfg in wrong:
        with pytest.raises(ExportError, match="init_cfg must be"):
            FairNAS("fairnas_c", init_cfg=init_cfg).init_weights()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"arch": "fairnas_z"}, "unknown network"),
        ({"arch": "resnet18"}, "cannot be a backbone"),
        ({"out_indices": (7,)}, "name some of 0 to 4"),
        ({"feature_location": "depth"}, "unknown feature_location"),
        ({"frozen_stages": 6}, "no stage 6"),
    ],
)
def test_mistakes_are_named(options: dict[str, Any], message: str) -> None:
    with pytest.raises(ExportError, match=message):
        FairNAS(**options)


def test_no_such_config() -> None:
    with pytest.raises(ExportError, match="choose from retinanet_coco"):
        retinanet_config("retinanet_huge", "fairnas_c")


def statistics(module: nn.Module) -> dict[str, torch.Tensor]:
    return {
        name: buffer.clone()
        for name, buffer in module.named_buffers()
        if name.endswith(("running_mean", "running_var"))
    }


@pytest.mark.parametrize(("stage", "stages_of_timm"), [(-1, 0), (0, 0), (1, 1), (2, 3), (3, 4), (4, 5)])
def test_frozen_stages_are_neither_trained_nor_do_their_statistics_move(stage: int, stages_of_timm: int) -> None:
    backbone = FairNAS("fairnas_c", frozen_stages=stage)
    backbone.eval()
    backbone.train()  # as the training loop does after each evaluation
    before = statistics(backbone.network)
    torch.stack([level.square().mean() for level in backbone(torch.randn(2, 3, 64, 64))]).sum().backward()
    frozen = () if stage < 0 else ("conv_stem", "bn1", *(f"blocks.{index}" for index in range(stages_of_timm)))

    def is_frozen(name: str) -> bool:
        return any(name.startswith(f"{part}.") for part in frozen)

    for name, parameter in backbone.network.named_parameters():
        assert (parameter.grad is None) == is_frozen(name), name
    for name, buffer in statistics(backbone.network).items():
        assert torch.equal(buffer, before[name]) == is_frozen(name), name
    assert (not modules_until(backbone.network, 0)[1].training) == (stage >= 0)


def test_norm_eval_keeps_statistics_but_trains_weights() -> None:
    backbone = FairNAS("fairnas_c", norm_eval=True).train()
    before = statistics(backbone.network)
    torch.stack([level.square().mean() for level in backbone(torch.randn(2, 3, 64, 64))]).sum().backward()
    assert all(torch.equal(buffer, before[name]) for name, buffer in statistics(backbone.network).items())
    assert all(parameter.grad is not None for parameter in backbone.parameters())
    assert backbone.training
