"""Backbones for the OpenMMLab libraries (MMDetection, MMSegmentation): type `FairNAS` in their configs.

It is registered with MMEngine itself, where all of them look:
`custom_imports = dict(imports=["fairnas.exporters.mmdet"], allow_failed_imports=False)`.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from ...models.backbone_features import PAPER_OUT_INDICES, build_features, channels, modules_until
from ..errors import ExportError
from .weights import load_backbone_weights

try:
    from mmengine.model import BaseModule  # pyright: ignore[reportMissingImports]  # only in an environment of its own
    from mmengine.registry import MODELS  # pyright: ignore[reportMissingImports]
except ImportError as error:
    raise ExportError(
        f"MMEngine cannot be imported ({error}): pip install 'fairnas[detection]' or 'fairnas[segmentation]'"
    ) from error


@MODELS.register_module()
class FairNAS(BaseModule):
    """Images `[B, 3, H, W]`, normalised RGB, to a tuple of features `[B, C, H/s, W/s]`.

    Args:
        arch: as `fairnas.models.backbone_features.build_features` takes it: a published name, an architecture's text,
            or a network of timm's made of the same blocks, for comparison (`mobilenetv2_100`).
        out_indices: which features: 0 to 4 for strides 2 to 32.
        feature_location: nothing for block outputs; "expansion" for the depthwise outputs that the paper takes.
        frozen_stages: stages that are not trained, in the paper's count: -1 none, 0 the stem, n what leads to the
            features of stride 2 ** n.
        norm_eval: keep batch norm's statistics as they are.
        width: multiplier of every channel count.
        output_stride: strides beyond it become dilations.
        drop_path_rate: of the last residual block; earlier ones are dropped less.
        channels_last: keep weights and features in this layout, which is faster on CPUs and with tensor cores.
        init_cfg: `dict(type="Pretrained", checkpoint="weights.safetensors")`: a classifier's weights, as `fairnas
            retrain` writes them. Nothing: random weights.

    Raises:
        ExportError: there is no such network, feature, stage or file.
    """

    def __init__(
        self,
        arch: str = "fairnas_c",
        out_indices: Sequence[int] = PAPER_OUT_INDICES,
        feature_location: str = "",
        frozen_stages: int = -1,
        norm_eval: bool = False,
        width: float = 1.0,
        output_stride: int = 32,
        drop_path_rate: float = 0.0,
        channels_last: bool = True,
        init_cfg: dict[str, Any] | None = None,
    ) -> None:
        super().__init__(init_cfg)
        try:
            self.network = build_features(
                arch,
                out_indices=out_indices,
                feature_location=feature_location,
                width=width,
                output_stride=output_stride,
                drop_path_rate=drop_path_rate,
            )
            self.frozen = modules_until(self.network, frozen_stages) if frozen_stages >= 0 else []
        except ValueError as error:
            raise ExportError(str(error)) from error
        self.norm_eval = norm_eval
        self.layout = torch.channels_last if channels_last else torch.contiguous_format
        self.network.to(memory_format=self.layout)
        for module in self.frozen:
            module.requires_grad_(False)

    @property
    def out_channels(self) -> list[int]:
        """Of each feature map: what a neck is given as `in_channels`."""
        return channels(self.network)

    def init_weights(self) -> None:
        """Load the classifier's weights that `init_cfg` names, if any; a new network is initialised already."""
        if self.init_cfg:
            given = self.init_cfg if isinstance(self.init_cfg, dict) else {}
            checkpoint = str(given.get("checkpoint", ""))
            if given.get("type") != "Pretrained" or not checkpoint.endswith(".safetensors"):
                raise ExportError('init_cfg must be dict(type="Pretrained", checkpoint="....safetensors")')
            load_backbone_weights(self.network, checkpoint)
        self._is_init = True

    def forward(self, images: Tensor) -> tuple[Tensor, ...]:
        """One feature map for each of `out_indices`."""
        return tuple(self.network(images.contiguous(memory_format=self.layout)))

    def train(self, mode: bool = True) -> FairNAS:
        """As any module's, but frozen stages stay in evaluation mode, and with `norm_eval` all batch norm does."""
        super().train(mode)
        if lost := [name for name, module in self.named_modules() if _lost_activation(module)]:
            raise ExportError(
                f"{lost[0]} became a SyncBatchNorm without its activation: leave sync_bn out of the config, or convert "
                "the model with timm.layers.convert_sync_batchnorm"
            )
        for module in self.frozen:
            module.eval()
        if self.norm_eval:
            for module in self.modules():
                if isinstance(module, _BatchNorm):
                    module.eval()
        return self


def _lost_activation(module: nn.Module) -> bool:
    """PyTorch's and MMEngine's conversions keep the activation inside timm's norms, and never call it."""
    return type(module) is nn.SyncBatchNorm and any(True for _ in module.children())
