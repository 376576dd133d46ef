"""The public name of `backbones.deeplab`, which users' code and configs import."""

from .backbones.deeplab import HEAD_CHANNELS, OUTPUT_STRIDE, DeepLabBranches, DeepLabHead, Segmenter, build_deeplab

__all__ = ["HEAD_CHANNELS", "OUTPUT_STRIDE", "DeepLabBranches", "DeepLabHead", "Segmenter", "build_deeplab"]
