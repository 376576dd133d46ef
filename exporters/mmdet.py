"""The public name of `backbones.mmdet`, which users' code and configs import."""

from .backbones.mmdet import CONFIGS, retinanet_config

__all__ = ["CONFIGS", "retinanet_config"]
