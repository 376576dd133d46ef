"""ONNX: one self-describing file with a dynamic batch, the same bytes for the same weights."""

from __future__ import annotations

import io
import json
import warnings
from collections.abc import Sequence
from dataclasses import asdict, dataclass

import onnx
import torch
from torch import nn

from .errors import ExportError


@dataclass(frozen=True, slots=True)
class Preprocessing:
    """What is done to an RGB image before it enters the network.

    The shorter side is resized (bilinear) to resolution / crop_pct, the centre is cropped, pixels in 0..1 are
    normalised per channel, channels come first.
    """

    resolution: int
    crop_pct: float
    mean: tuple[float, float, float]
    std: tuple[float, float, float]


def export_onnx(
    network: nn.Module, preprocessing: Preprocessing, classes: Sequence[str], opset: int, name: str
) -> bytes:
    """Serialise a network.

    The model's input `images` is float32 `[batch, 3, resolution, resolution]`, its output `logits` float32
    `[batch, classes]`. The metadata holds `preprocessing` and `labels` as JSON, and `name`.

    Args:
        network: on the CPU; put into evaluation mode.
        preprocessing: goes into the metadata; its resolution is the model's.
        classes: label names in logit order.
        opset: ONNX operator set.
        name: the network's name.
    """
    model = traced(network, (1, len(preprocessing.mean), preprocessing.resolution, preprocessing.resolution), opset)
    metadata = {
        "name": name,
        "preprocessing": json.dumps(asdict(preprocessing)),
        "labels": json.dumps(list(classes)),
    }
    onnx.helper.set_model_props(model, metadata)
    onnx.checker.check_model(model, full_check=True)
    return model.SerializeToString(deterministic=True)


def traced(
    network: nn.Module,
    shape: Sequence[int],
    opset: int = 18,
    *,
    outputs: Sequence[str] = ("logits",),
    open_sides: bool = False,
) -> onnx.ModelProto:
    """A network with one input `images` of a shape, whose first size (the batch) stays open, and the output `logits`.

    Args:
        network: on the CPU; put into evaluation mode.
        shape: of the images.
        opset: ONNX operator set.
        outputs: names of what it gives.
        open_sides: leave height and width open too.

    Raises:
        ExportError: the network does what ONNX cannot say.
    """
    network.eval()
    sizes = {0: "batch", 2: "height", 3: "width"} if open_sides else {0: "batch"}
    buffer = io.BytesIO()
    with warnings.catch_warnings():
        # The exporter that traces takes under 1 s per network here, the one built on torch.export 8 to 20 s, and both
        # leave the same operators.
        warnings.simplefilter("ignore")
        try:
            torch.onnx.export(
                network,
                (torch.zeros(*shape),),
                buffer,  # pyright: ignore[reportArgumentType]  # this exporter writes to buffers too
                dynamo=False,
                opset_version=opset,
                input_names=["images"],
                output_names=list(outputs),
                dynamic_axes={"images": sizes} | {name: {0: "batch"} for name in outputs},
            )
        except Exception as error:  # the exporter's own types, and whatever the network raises while it is traced
            raise ExportError(f"cannot become ONNX: {' '.join(str(error).split())[:300]}") from error
    return onnx.load_from_string(buffer.getvalue())
