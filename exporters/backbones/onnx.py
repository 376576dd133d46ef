"""The backbone and neck of a detector or segmenter as one ONNX file, checked against PyTorch level by level."""

from __future__ import annotations

import onnx
import torch
from torch import Tensor, nn

from ..errors import ExportError
from ..onnx.export import traced
from ..parity import Parity, compare, onnx_logits

TOLERANCE = 1e-4
"""Largest relative difference of a level that passes; float32 leaves a few 1e-6."""


class BackboneAndNeck(nn.Module):
    """Images `[B, 3, H, W]` to a tuple of features, as the heads of a model are given them.

    Args:
        model: has a `backbone` and perhaps a `neck`, as MMDetection's and MMSegmentation's models do.

    Raises:
        ExportError: it has no backbone.
    """

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        if not isinstance(getattr(model, "backbone", None), nn.Module):
            raise ExportError(f"{type(model).__name__} has no backbone")
        self.backbone = model.get_submodule("backbone")
        neck = getattr(model, "neck", None)
        self.neck = neck if isinstance(neck, nn.Module) else nn.Identity()

    def forward(self, images: Tensor) -> tuple[Tensor, ...]:
        """One tensor per level; what gives a dictionary (torchvision) is read in its order."""
        levels = self.neck(self.backbone(images))
        return tuple(levels.values() if isinstance(levels, dict) else levels)


class _Level(nn.Module):
    def __init__(self, levels: BackboneAndNeck, index: int) -> None:
        super().__init__()
        self.levels, self.index = levels, index

    def forward(self, images: Tensor) -> Tensor:
        return self.levels(images)[self.index]


def export_backbone(
    model: nn.Module, images: Tensor, *, opset: int = 18, tolerance: float = TOLERANCE
) -> tuple[bytes, list[Parity]]:
    """Serialise the backbone and neck of a model, and compare.

    The file's input `images` is float32 `[batch, 3, height, width]`, its outputs are `features_0`, `features_1` ...,
    finest first; batch and sides stay open.

    Args:
        model: as `BackboneAndNeck` takes it, on the CPU; put into evaluation mode.
        images: preprocessed, `[B, 3, H, W]`: what is compared on.
        opset: ONNX operator set.
        tolerance: largest `max_relative_difference` that passes.

    Returns:
        The file's content, and for each level how it differs from PyTorch.

    Raises:
        ExportError: the model has no backbone, a level differs by more, or ONNX Runtime cannot load the file.
    """
    levels = BackboneAndNeck(model).eval()
    with torch.inference_mode():
        names = [f"features_{level}" for level in range(len(levels(images[:1])))]
    proto = traced(levels, images[:1].shape, opset, outputs=names, open_sides=True)
    onnx.checker.check_model(proto, full_check=True)
    content = proto.SerializeToString(deterministic=True)
    parities = [
        compare(_Level(levels, level), onnx_logits(content, name), images.split(1)) for level, name in enumerate(names)
    ]
    for name, parity in zip(names, parities, strict=True):
        if not parity.max_relative_difference <= tolerance:  # a NaN does not pass
            raise ExportError(
                f"{name} of the exported backbone differs from PyTorch's on {parity.images} images: largest relative "
                f"difference {parity.max_relative_difference:.2g} (limit {tolerance:.2g})"
            )
    return content, parities
