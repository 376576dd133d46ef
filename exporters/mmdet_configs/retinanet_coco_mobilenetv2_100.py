"""RetinaNet on COCO as in the FairNAS paper, with MobileNetV2, the control."""

# ruff: noqa: C408 - as OpenMMLab's configs are written
_base_ = ["retinanet_coco.py"]

model = dict(backbone=dict(arch="mobilenetv2_100"), neck=dict(in_channels=[144, 192, 576, 960]))
