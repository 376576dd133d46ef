"""A RetinaNet that a CPU trains in minutes, for people in small pictures (annotations in COCO's format).

The features are 64 channels wide, the head has two layers, and three levels suffice for pictures of 256 pixels. People
stand: the anchors are as high as they are wide, or higher. A config of your own names its data as docs/backbones.md
shows: what is derived here from `data_root` does not follow one that is given there. Weights of a classifier as in
`retinanet_coco.py`.
"""

# ruff: noqa: C408 - as OpenMMLab's configs are written
_base_ = ["mmdet::_base_/models/retinanet_r50_fpn.py", "mmdet::_base_/default_runtime.py"]
custom_imports = dict(imports=["fairnas.exporters.mmdet"], allow_failed_imports=False)

data_root = "data/people/"
classes = ("person",)
scale = (256, 256)
batch_size = 8
iterations = 300
width = 64

model = dict(
    backbone=dict(_delete_=True, type="FairNAS", arch="fairnas_c", feature_location="expansion"),
    neck=dict(in_channels=[96, 120, 288, 1152], out_channels=width, num_outs=3),
    bbox_head=dict(
        num_classes=len(classes),
        in_channels=width,
        feat_channels=width,
        stacked_convs=2,
        anchor_generator=dict(ratios=[1.0, 2.0, 3.0], strides=[8, 16, 32]),
    ),
)

train_pipeline = [
    dict(type="LoadImageFromFile"),
    dict(type="LoadAnnotations", with_bbox=True),
    dict(type="Resize", scale=scale, keep_ratio=True),
    dict(type="RandomFlip", prob=0.5),
    dict(type="PackDetInputs"),
]
test_pipeline = [
    dict(type="LoadImageFromFile"),
    dict(type="Resize", scale=scale, keep_ratio=True),
    dict(type="LoadAnnotations", with_bbox=True),
    dict(type="PackDetInputs", meta_keys=("img_id", "img_path", "ori_shape", "img_shape", "scale_factor")),
]
dataset = dict(type="CocoDataset", data_root=data_root, metainfo=dict(classes=classes), data_prefix=dict(img=""))
train_dataloader = dict(
    batch_size=batch_size,
    num_workers=0,
    sampler=dict(type="InfiniteSampler", shuffle=True),
    dataset=dict(ann_file="train.json", pipeline=train_pipeline, **dataset),
)
val_dataloader = dict(
    batch_size=1,
    num_workers=0,
    sampler=dict(type="DefaultSampler", shuffle=False),
    dataset=dict(ann_file="heldout.json", pipeline=test_pipeline, test_mode=True, **dataset),
)
val_evaluator = dict(type="CocoMetric", ann_file=data_root + "heldout.json", metric="bbox")
test_dataloader = val_dataloader
test_evaluator = val_evaluator

optim_wrapper = dict(
    type="OptimWrapper",
    optimizer=dict(type="AdamW", lr=1e-3, weight_decay=0.05),
    paramwise_cfg=dict(norm_decay_mult=0.0, bias_decay_mult=0.0),
    clip_grad=dict(max_norm=10.0),
)
param_scheduler = [
    dict(type="LinearLR", start_factor=0.1, begin=0, end=20, by_epoch=False),
    dict(type="CosineAnnealingLR", begin=20, end=iterations, T_max=iterations - 20, eta_min=0.0, by_epoch=False),
]
train_cfg = dict(type="IterBasedTrainLoop", max_iters=iterations, val_interval=iterations)
val_cfg = dict(type="ValLoop")
test_cfg = dict(type="TestLoop")
log_processor = dict(by_epoch=False)
default_hooks = dict(checkpoint=dict(by_epoch=False, interval=100, max_keep_ckpts=2))
