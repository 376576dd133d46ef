"""For MMSegmentation: the backbone `FairNAS` and the paper's head `FairNASDeepLabHead` in configs.

`custom_imports = dict(imports=["fairnas.exporters.mmseg"], allow_failed_imports=False)`; two whole configs lie in
`mmseg_configs/`. The library's own heads fit the backbone as well.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from torch import Tensor

from ..errors import ExportError
from .deeplab import HEAD_CHANNELS, DeepLabBranches
from .openmmlab import FairNAS

try:
    from mmseg.models.decode_heads.decode_head import BaseDecodeHead  # pyright: ignore[reportMissingImports]
    from mmseg.registry import MODELS  # pyright: ignore[reportMissingImports]
except ImportError as error:
    raise ExportError(f"MMSegmentation cannot be imported ({error}): pip install 'fairnas[segmentation]'") from error

__all__ = ["FairNAS", "FairNASDeepLabHead"]


@MODELS.register_module()
class FairNASDeepLabHead(BaseDecodeHead):
    """The head of the paper's DeepLabv3+ (sec. 4.5): global pooling and one 1x1 branch, no ASPP and no decoder.

    Args:
        in_channels: of the backbone's last features.
        num_classes: how many are told apart.
        channels: of each branch.
        **kwargs: what MMSegmentation's `BaseDecodeHead` takes (`loss_decode`, `dropout_ratio`, `ignore_index`, ...).
    """

    def __init__(self, in_channels: int, num_classes: int, channels: int = HEAD_CHANNELS, **kwargs: Any) -> None:
        super().__init__(in_channels, channels, num_classes=num_classes, **kwargs)
        self.branches = DeepLabBranches(in_channels, channels)

    def forward(self, inputs: Sequence[Tensor]) -> Tensor:
        """Features of the backbone to logits `[B, num_classes, h, w]` at the resolution of those it uses."""
        return self.cls_seg(self.branches(self._transform_inputs(inputs)))
