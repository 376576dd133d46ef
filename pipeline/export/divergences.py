"""Which layer of an exported file is the first to answer otherwise than the network."""

from __future__ import annotations

from collections.abc import Callable

from torch import Tensor

from ...exporters.deployable import Deployable, Exported
from ...exporters.divergence import first_divergence, first_divergence_from_torch
from ...exporters.judgement import KEEPS_FLOAT32

# Root mean square of a layer's difference, relative to its output's. Single layers of networks that keep their accuracy
# in 8 bits were seen to differ by 0.43 (squeeze-and-excitation).
ROUNDING, HALF_PRECISION, EIGHT_BITS = 1e-3, 0.1, 0.5


def first_diverging_layer(
    model: Deployable, float_onnx: Callable[[], bytes], exported: Exported, images: Tensor
) -> str | None:
    """Name the layer.

    Args:
        model: what the file was made from.
        float_onnx: gives the same as ONNX in float32, which LiteRT does without.
        exported: the file.
        images: a few, preprocessed, `[N, C, H, W]`.

    Returns:
        Its name in the network; None where no layer differs by more than its format explains, or none can be looked at.
    """
    if exported.run is None or exported.format.startswith("tensorrt"):
        return None
    lossy = EIGHT_BITS if exported.format.endswith("int8") else HALF_PRECISION
    tolerance = ROUNDING if exported.format in KEEPS_FLOAT32 else lossy
    if exported.format == "onnx":
        found = first_divergence_from_torch(model.network, exported.model, images, tolerance)
    elif exported.format.startswith("onnx"):
        found = first_divergence(float_onnx(), exported.model, images, tolerance)
    else:
        from ...exporters.litert.divergence import litert_divergence

        found = litert_divergence(model.network, exported.model, images, tolerance)
    return found.layer if found else None
