"""For MMDetection: the backbone `FairNAS` in configs, and RetinaNet configs that have it (`mmdet_configs/`).

`custom_imports = dict(imports=["fairnas.exporters.mmdet"], allow_failed_imports=False)` is all that a config needs.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch

from ..errors import ExportError
from .openmmlab import FairNAS

try:
    import mmdet  # noqa: F401  # pyright: ignore[reportMissingImports]
    from mmengine.config import Config  # pyright: ignore[reportMissingImports]
except ImportError as error:
    raise ExportError(f"MMDetection cannot be imported ({error}): pip install 'fairnas[detection]'") from error

__all__ = ["CONFIGS", "FairNAS", "retinanet_config"]

CONFIGS = Path(__file__).parent.parent / "mmdet_configs"


def retinanet_config(name: str, arch: str, *, weights: str | Path | None = None, **backbone: Any) -> Config:
    """One of our configs with another backbone, whose channels the neck follows.

    Args:
        name: `retinanet_coco`, the paper's, or `retinanet_small`.
        arch: as `FairNAS` takes it.
        weights: a classifier's `.safetensors`; None for random weights.
        **backbone: what else `FairNAS` takes, instead of what the config says.

    Raises:
        ExportError: there is no such config or backbone.
    """
    path = CONFIGS / f"{name}.py"
    if not path.is_file():
        known = ", ".join(sorted(file.stem for file in CONFIGS.glob("*.py")))
        raise ExportError(f"there is no config {name}: choose from {known}")
    config = Config.fromfile(path)
    config.model.backbone.update(arch=arch, **backbone)
    with torch.device("meta"):  # only its channels are asked for
        built = FairNAS(**{key: value for key, value in config.model.backbone.items() if key != "type"})
    config.model.neck.in_channels = built.out_channels
    config.model.backbone.init_cfg = {"type": "Pretrained", "checkpoint": str(weights)} if weights else None
    return config
