"""Weights of trained classifiers for backbones, in whatever model these are: ours, segmentation_models_pytorch's."""

from __future__ import annotations

from pathlib import Path

from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import nn

from ..errors import ExportError


def load_backbone_weights(model: nn.Module, path: str | Path) -> None:
    """Load a classifier's `.safetensors` into the backbone of a model, whatever else the model has around it.

    Args:
        model: a network that timm made with `features_only=True`, or a model that holds one; it is changed.
        path: weights of the same network as a classifier; its head and classifier are left out.

    Raises:
        ExportError: no such file, not the weights of this backbone, or no such backbone in the model.
    """
    backbones = [module for module in model.modules() if hasattr(module, "feature_info")]
    if not backbones:
        raise ExportError(f"{type(model).__name__} holds no backbone of timm's to load weights into")
    own = backbones[0].state_dict()
    try:
        weights = load_file(path)
    except (OSError, SafetensorError) as error:
        raise ExportError(f"cannot read weights from {path}: {' '.join(str(error).split())}") from None
    parts = {name.split(".")[0] for name in own}
    kept = {name: tensor for name, tensor in weights.items() if name.split(".")[0] in parts}
    differing = sorted(own.keys() ^ kept.keys())
    shapes = sorted(name for name in own.keys() & kept.keys() if own[name].shape != kept[name].shape)
    if differing or shapes:
        which = f"{differing[0]} is only in one of them" if differing else f"{shapes[0]} has another shape"
        raise ExportError(f"{path} does not hold the weights of this backbone: {which}")
    backbones[0].load_state_dict(kept)
