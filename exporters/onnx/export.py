"""ONNX: one self-describing file with a dynamic batch, the same bytes for the same weights."""

from __future__ import annotations

import io
import json
import linecache
import os
import re
import warnings
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import onnx
import timm
import torch
import torchvision
from torch import nn

from ..errors import ExportError, in_one_line
from ..litert.quiet import without_output


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
    network: nn.Module,
    preprocessing: Preprocessing,
    classes: Sequence[str],
    opset: int,
    name: str,
    branches: list[str] | None = None,
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
        branches: see `traced`.
    """
    shape = (1, len(preprocessing.mean), preprocessing.resolution, preprocessing.resolution)
    model = traced(network, shape, opset, branches=branches)
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
    branches: list[str] | None = None,
) -> onnx.ModelProto:
    """A network with one input `images` of a shape, whose first size (the batch) stays open, and the output `logits`.

    Args:
        network: on the CPU; put into evaluation mode.
        shape: of the images.
        opset: ONNX operator set.
        outputs: names of what it gives.
        open_sides: leave height and width open too.
        branches: is given the lines of the network's own code whose course depends on a tensor: one course is followed
            and the others are lost.

    Raises:
        ExportError: the network does what ONNX cannot say.
    """
    network.eval()
    sizes = {0: "batch", 2: "height", 3: "width"} if open_sides else {0: "batch"}
    buffer = io.BytesIO()
    with warnings.catch_warnings(record=True) as warned, without_output():
        # The exporter that traces takes under 1 s per network here, the one built on torch.export 8 to 20 s, and both
        # leave the same operators.
        warnings.simplefilter("always")
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
            raise ExportError(f"cannot become ONNX: {in_one_line(error)}") from error
    if branches is not None:
        branches += [line for line in _branches(warned) if line not in branches]
    return onnx.load_from_string(buffer.getvalue())


_LIBRARIES = tuple(
    # Ending in a separator: torchmetrics is not torch.
    f"{Path(module.__file__).parent}{os.sep}"
    for module in (torch, torchvision, timm)
    if module.__file__
)


# Whole numbers and indices are sizes, nearly always.
_DECISIONS = re.compile("to a Python (boolean|float|number)|to a NumPy array")


def _branches(warned: Sequence[warnings.WarningMessage]) -> list[str]:
    """Where code outside of the libraries, whose branches only look at sizes, made a decision of a tensor's value."""
    found: list[str] = []
    for each in warned:
        decides = issubclass(each.category, torch.jit.TracerWarning) and _DECISIONS.search(str(each.message))
        if decides and not each.filename.startswith(_LIBRARIES):
            code = linecache.getline(each.filename, each.lineno).strip()
            found.append(f"{Path(each.filename).name}:{each.lineno} ({code})")
    return list(dict.fromkeys(found))
