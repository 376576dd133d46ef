"""RetinaNet on COCO as in the FairNAS paper (sec. 4.4), with FairNAS-C.

12 epochs, 16 images a step, rate 0.01 divided by 10 at epochs 8 and 11, features 256 channels wide, taken after the
last depthwise convolutions of strides 4 to 32. The paper says nothing of momentum, weight decay, image size, warm-up:
those are MMDetection's usual ones. Weights of a classifier: `--cfg-options
model.backbone.init_cfg.type=Pretrained model.backbone.init_cfg.checkpoint=weights.safetensors`.
"""

# ruff: noqa: C408 - as OpenMMLab's configs are written
_base_ = [
    "mmdet::_base_/models/retinanet_r50_fpn.py",
    "mmdet::_base_/datasets/coco_detection.py",
    "mmdet::_base_/schedules/schedule_1x.py",
    "mmdet::_base_/default_runtime.py",
]
custom_imports = dict(imports=["fairnas.exporters.mmdet"], allow_failed_imports=False)

model = dict(
    backbone=dict(_delete_=True, type="FairNAS", arch="fairnas_c", feature_location="expansion"),
    neck=dict(in_channels=[96, 120, 288, 1152]),
)
# 8 GPUs with 2 images each; `--auto-scale-lr` for other numbers.
train_dataloader = dict(batch_size=2)
optim_wrapper = dict(optimizer=dict(lr=0.01))
auto_scale_lr = dict(base_batch_size=16)
