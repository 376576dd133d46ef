"""The public name of `backbones.mmseg`, which users' code and configs import."""

from .backbones.mmseg import FairNASDeepLabHead

__all__ = ["FairNASDeepLabHead"]
