"""RetinaNet on COCO as in the FairNAS paper, with FairNAS-A. With SE it has the same channels."""

# ruff: noqa: C408 - as OpenMMLab's configs are written
_base_ = ["retinanet_coco.py"]

model = dict(backbone=dict(arch="fairnas_a"), neck=dict(in_channels=[96, 120, 576, 1152]))
