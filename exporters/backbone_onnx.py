"""The public name of `backbones.onnx`, which users' code and configs import."""

from .backbones.onnx import TOLERANCE, BackboneAndNeck, export_backbone

__all__ = ["TOLERANCE", "BackboneAndNeck", "export_backbone"]
