"""RetinaNet on COCO as in the FairNAS paper, with FairNAS-B. With SE it has the same channels."""

# ruff: noqa: C408 - as OpenMMLab's configs are written
_base_ = ["retinanet_coco.py"]

model = dict(backbone=dict(arch="fairnas_b"), neck=dict(in_channels=[96, 120, 288, 1152]))
