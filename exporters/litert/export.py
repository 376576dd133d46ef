"""LiteRT: `.tflite` files for phones and boards, in float32 and, calibrated on real images, in int8."""

from __future__ import annotations

import copy
import json
import time
from collections.abc import Mapping
from dataclasses import asdict
from importlib.metadata import version
from typing import Any

import torch
from torch import Tensor, nn

from ...models.folding import folded
from ..deployable import Deployable, Exported, Samples
from ..errors import ExportError
from .files import operators, with_metadata
from .int8 import choose_int8
from .quiet import quiet
from .runtime import MISSING, litert_logits, reason, xnnpack_parts
from .settings import Layout, LiteRtSettings


class _ByName(nn.Module):
    """The network with a named input of the file's layout and a named output."""

    def __init__(self, network: nn.Module, layout: Layout) -> None:
        super().__init__()
        self.network, self.layout = network, layout

    def forward(self, images: Tensor) -> dict[str, Tensor]:
        return {"logits": self.network(images.permute(0, 3, 1, 2) if self.layout == "nhwc" else images)}


def to_litert(model: Deployable, settings: LiteRtSettings) -> Exported:
    """The network in float32.

    The file has one signature, `serving_default`, from `images`, float32 `[1, H, W, C]` (or `[1, C, H, W]`), to
    `logits`, float32 `[1, classes]`. Its metadata holds `name`, `layout`, and `preprocessing` and `labels` as JSON.

    Args:
        model: what to export.
        settings: how.

    Raises:
        ExportError: a library is missing, or an operator cannot be converted.
    """
    content, facts = _converted(model, settings)
    content = with_metadata(content, _metadata(model, settings))
    return Exported("litert", {"model.tflite": content}, litert_logits(content), facts=facts)


def to_litert_int8(model: Deployable, samples: Samples, settings: LiteRtSettings) -> Exported:
    """The network in int8: weights with a scale per output channel, activations with ranges taken from real images.

    Its signature and metadata are those of `to_litert`. Several ways of calibrating are tried; the facts hold each
    one's top-1 on `samples.selection`, and which operators stayed in float.

    Args:
        model: what to export.
        samples: to calibrate on and to choose by.
        settings: how.

    Raises:
        ExportError: a library is missing, or an operator cannot be converted or quantised.
    """
    content, facts = _converted(model, settings)
    content, chosen = choose_int8(content, samples)
    content = with_metadata(content, _metadata(model, settings))
    facts |= chosen | _inside(content)
    return Exported("litert-int8", {"model.int8.tflite": content}, litert_logits(content), facts=facts)


def _converted(model: Deployable, settings: LiteRtSettings) -> tuple[bytes, dict[str, Any]]:
    start = time.perf_counter()
    _, channels, height, width = model.input_shape
    shape = (1, height, width, channels) if settings.layout == "nhwc" else (1, channels, height, width)
    with quiet():
        try:
            import litert_torch  # pyright: ignore[reportMissingImports]  # an extra
        except ImportError as error:
            raise ExportError(MISSING) from error
        litert_torch.config.show_progress = False
        network = _ByName(_prepared(model.network), settings.layout).eval()
        try:
            content: bytes = litert_torch.convert(network, sample_kwargs={"images": torch.zeros(shape)}).model_content()
        except Exception as error:  # torch.export, JAX and the converter raise types of their own
            raise ExportError(f"{model.name} cannot become a LiteRT file: {reason(error)}") from error
    facts = {
        "layout": settings.layout,
        "input": {"name": "images", "shape": list(shape)},
        "output": {"name": "logits", "shape": [1, len(model.classes)]},
        "signature": "serving_default",
        "converted_by": f"litert-torch {version('litert-torch')}",
        "conversion_s": round(time.perf_counter() - start, 1),
    }
    return content, facts | _inside(content)


def _inside(content: bytes) -> dict[str, Any]:
    return {"operators": operators(content), "xnnpack_parts": xnnpack_parts(content)}


def _prepared(network: nn.Module) -> nn.Module:
    """A copy without batch norms where they can be folded: the converter does so too, but takes three times as long."""
    try:
        return folded(network)
    except ValueError:  # what cannot be followed with symbols may still be followed with numbers
        return copy.deepcopy(network)


def _metadata(model: Deployable, settings: LiteRtSettings) -> Mapping[str, str]:
    return {
        "name": model.name,
        "layout": settings.layout,
        "preprocessing": json.dumps(asdict(model.preprocessing)),
        "labels": json.dumps(list(model.classes)),
    }
