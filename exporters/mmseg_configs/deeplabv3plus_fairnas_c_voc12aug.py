"""DeepLabv3+ as in the FairNAS paper (sec. 4.5), on PASCAL VOC 2012 with the extra annotations.

The paper starts from COCO and says nothing of its schedule; crop, batch, iterations and rate are DeepLab's usual ones.
"""

# ruff: noqa: C408  (written as configs of OpenMMLab are)

_base_ = ["base.py"]

crop_size = (513, 513)
iterations = 30_000
void = 255
data_root = "data/VOCdevkit/VOC2012"

model = dict(
    data_preprocessor=dict(size=crop_size, seg_pad_val=void),
    backbone=dict(out_indices=(4,)),
    decode_head=dict(type="FairNASDeepLabHead", in_channels=320, num_classes=21, ignore_index=void),
)

train_pipeline = [
    dict(type="LoadImageFromFile"),
    dict(type="LoadAnnotations"),
    dict(type="RandomResize", scale=(2048, 513), ratio_range=(0.5, 2.0), keep_ratio=True),
    dict(type="RandomCrop", crop_size=crop_size, cat_max_ratio=0.75, ignore_index=void),
    dict(type="RandomFlip", prob=0.5),
    dict(type="PhotoMetricDistortion"),
    dict(type="PackSegInputs"),
]
test_pipeline = [dict(type="LoadImageFromFile"), dict(type="LoadAnnotations"), dict(type="PackSegInputs")]
fine = dict(
    type="PascalVOCDataset",
    data_root=data_root,
    data_prefix=dict(img_path="JPEGImages", seg_map_path="SegmentationClass"),
    ann_file="ImageSets/Segmentation/train.txt",
    pipeline=train_pipeline,
)
coarse = dict(
    type="PascalVOCDataset",
    data_root=data_root,
    data_prefix=dict(img_path="JPEGImages", seg_map_path="SegmentationClassAug"),
    ann_file="ImageSets/Segmentation/aug.txt",
    pipeline=train_pipeline,
)
train_dataloader = dict(batch_size=16, dataset=dict(type="ConcatDataset", datasets=[fine, coarse]))
val_dataloader = dict(
    dataset=dict(
        type="PascalVOCDataset",
        data_root=data_root,
        data_prefix=dict(img_path="JPEGImages", seg_map_path="SegmentationClass"),
        ann_file="ImageSets/Segmentation/val.txt",
        pipeline=test_pipeline,
    )
)
val_evaluator = dict(ignore_index=void)
test_dataloader = val_dataloader
test_evaluator = val_evaluator

optim_wrapper = dict(optimizer=dict(lr=0.007, weight_decay=4e-5))
param_scheduler = [dict(type="PolyLR", power=0.9, eta_min=0, begin=0, end=iterations, by_epoch=False)]
train_cfg = dict(type="IterBasedTrainLoop", max_iters=iterations, val_interval=5000)
