"""The public name of `backbones.torchvision`, which users' code and configs import."""

from .backbones.torchvision import FeaturePyramid, retinanet

__all__ = ["FeaturePyramid", "retinanet"]
