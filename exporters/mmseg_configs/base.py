"""What both configs share: a FairNAS-C backbone of output stride 16, SGD, the polynomial schedule, the runtime.

Weights of a classifier go into the backbone with `--cfg-options model.backbone.init_cfg.type=Pretrained
model.backbone.init_cfg.checkpoint=weights.safetensors`.
"""

# ruff: noqa: C408  (written as configs of OpenMMLab are)

custom_imports = dict(imports=["fairnas.exporters.mmseg"], allow_failed_imports=False)
default_scope = "mmseg"

model = dict(
    type="EncoderDecoder",
    data_preprocessor=dict(
        type="SegDataPreProcessor",
        mean=[123.675, 116.28, 103.53],
        std=[58.395, 57.12, 57.375],
        bgr_to_rgb=True,
        pad_val=0,
    ),
    backbone=dict(type="FairNAS", arch="fairnas_c", output_stride=16),
    train_cfg=dict(),
    test_cfg=dict(mode="whole"),
)
optim_wrapper = dict(type="OptimWrapper", optimizer=dict(type="SGD", momentum=0.9))
train_dataloader = dict(num_workers=2, persistent_workers=True, sampler=dict(type="InfiniteSampler", shuffle=True))
val_dataloader = dict(
    batch_size=1, num_workers=2, persistent_workers=True, sampler=dict(type="DefaultSampler", shuffle=False)
)
val_evaluator = dict(type="IoUMetric", iou_metrics=["mIoU"])
test_dataloader = val_dataloader
test_evaluator = val_evaluator
val_cfg = dict(type="ValLoop")
test_cfg = dict(type="TestLoop")
default_hooks = dict(
    timer=dict(type="IterTimerHook"),
    logger=dict(type="LoggerHook", interval=50, log_metric_by_epoch=False),
    param_scheduler=dict(type="ParamSchedulerHook"),
    checkpoint=dict(type="CheckpointHook", by_epoch=False, interval=2000, max_keep_ckpts=2),
    sampler_seed=dict(type="DistSamplerSeedHook"),
)
log_processor = dict(by_epoch=False)
