"""DeepLabv3+ with ASPP and decoder (MMSegmentation's own head) on CamVid, or any folder laid out like it.

`data_root` holds train/, trainannot/, test/ and testannot/; what is no class has the number 11.
"""

# ruff: noqa: C408  (written as configs of OpenMMLab are)

_base_ = ["base.py"]

crop_size = (160, 160)
iterations = 2_000
void = 11
data_root = "data/camvid"
classes = [
    "Sky",
    "Building",
    "Pole",
    "Road",
    "Pavement",
    "Tree",
    "SignSymbol",
    "Fence",
    "Car",
    "Pedestrian",
    "Bicyclist",
]

model = dict(
    data_preprocessor=dict(size=crop_size, seg_pad_val=void),
    backbone=dict(out_indices=(1, 4)),  # stride 4 for the decoder, stride 16 for ASPP
    decode_head=dict(
        type="DepthwiseSeparableASPPHead",
        in_channels=320,
        in_index=1,
        channels=256,
        dilations=(1, 6, 12, 18),
        c1_in_channels=32,
        c1_channels=48,
        num_classes=len(classes),
        norm_cfg=dict(type="BN"),
        ignore_index=void,
    ),
)

train_pipeline = [
    dict(type="LoadImageFromFile"),
    dict(type="LoadAnnotations"),
    dict(type="RandomResize", scale=(240, 180), ratio_range=(0.75, 1.5), keep_ratio=True),
    dict(type="RandomCrop", crop_size=crop_size, cat_max_ratio=0.75, ignore_index=void),
    dict(type="RandomFlip", prob=0.5),
    dict(type="PhotoMetricDistortion"),
    dict(type="PackSegInputs"),
]
test_pipeline = [dict(type="LoadImageFromFile"), dict(type="LoadAnnotations"), dict(type="PackSegInputs")]
train_dataloader = dict(
    batch_size=8,
    dataset=dict(
        type="BaseSegDataset",
        data_root=data_root,
        data_prefix=dict(img_path="train", seg_map_path="trainannot"),
        metainfo=dict(classes=classes),
        pipeline=train_pipeline,
    ),
)
val_dataloader = dict(
    dataset=dict(
        type="BaseSegDataset",
        data_root=data_root,
        data_prefix=dict(img_path="test", seg_map_path="testannot"),
        metainfo=dict(classes=classes),
        pipeline=test_pipeline,
    )
)
val_evaluator = dict(ignore_index=void)
test_dataloader = val_dataloader
test_evaluator = val_evaluator

optim_wrapper = dict(optimizer=dict(lr=0.02, weight_decay=1e-4))
param_scheduler = [dict(type="PolyLR", power=0.9, eta_min=0, begin=0, end=iterations, by_epoch=False)]
train_cfg = dict(type="IterBasedTrainLoop", max_iters=iterations, val_interval=500)
