"""LiteRT files in int8: calibration on real images, and the choice between ways of calibrating."""

from __future__ import annotations

from collections.abc import Callable, Mapping, MutableMapping
from importlib.metadata import version
from typing import Any, TypeAlias

import numpy as np

from ..deployable import Samples
from ..errors import ExportError
from ..parity import answers
from .files import operators
from .quiet import quiet
from .runtime import MISSING, as_inputs, litert_logits, load_interpreter, reason

_SIGNATURE = "serving_default"
_ENDS = ("min", "max")
_Ranges: TypeAlias = dict[str, dict[str, np.ndarray]]
"""The smallest and the largest value of each tensor, as `min` and `max`."""

WAYS: Mapping[str, Mapping[str, Callable[..., np.ndarray]]] = {
    # What one image in hundreds reaches would make the steps coarser for all others.
    "mean": {"min": np.mean, "max": np.mean},
    "minmax": {"min": np.min, "max": np.max},
}
"""How the ends of an activation's range follow from its ends on single images."""


def choose_int8(
    content: bytes, samples: Samples, *, int8_io: bool = False, threads: int = 1
) -> tuple[bytes, dict[str, Any]]:
    """Quantise a LiteRT file to int8 in several ways, and take the one that is right most often.

    Args:
        content: of the float file.
        samples: to calibrate on and to choose by.
        int8_io: whether the file also takes and gives int8, as accelerators without a float unit need it; else its
            input and output are float32.
        threads: to run it with.

    Returns:
        Content of the int8 file, and what a reviewer asks about it.

    Raises:
        ExportError: a library is missing, or cannot quantise the file.
    """
    (taken,) = load_interpreter(content, threads).get_input_details()
    with quiet():
        try:
            recipe = _recipe(int8_io)
        except ImportError as error:
            raise ExportError(MISSING) from error
        try:
            ends = _calibrated(content, recipe, as_inputs(samples.calibration, taken), threads)
            made = {name: _quantised(content, recipe, _ranges(ends, way)) for name, way in WAYS.items()}
        except Exception as error:  # the quantiser raises many types
            raise ExportError(f"cannot be quantised for LiteRT: {reason(error)}") from error
    top1 = {name: _top1(quantised, samples, threads) for name, quantised in made.items()}
    best = max(top1, key=top1.__getitem__)  # of equals the first
    if "int8" not in operators(made[best]):
        raise ExportError("nothing of it is in 8 bits: no operator could be quantised")
    return made[best], {
        "quantised_by": f"ai-edge-quantizer {version('ai-edge-quantizer')}",
        "weights": "int8, symmetric, a scale per output channel",
        "activations": "int8, asymmetric, a scale per tensor",
        "calibration": best,
        "calibration_images": len(samples.calibration),
        "selection_top1": top1,
        "selection_images": len(samples.selection),
        "float_operators": operators(made[best]).get("float32", {}),
    }


def _recipe(int8_io: bool) -> Any:
    from ai_edge_quantizer import qtyping, recipe  # pyright: ignore[reportMissingImports]  # an extra
    from ai_edge_quantizer.algorithm_manager import AlgorithmName  # pyright: ignore[reportMissingImports]
    from ai_edge_quantizer.recipe_manager import RecipeManager  # pyright: ignore[reportMissingImports]

    manager = RecipeManager()
    manager.load_quantization_recipe(recipe.static_wi8_ai8())
    if not int8_io:
        for end in (qtyping.TFLOperationName.INPUT, qtyping.TFLOperationName.OUTPUT):
            manager.add_quantization_config(".*", end, algorithm_key=AlgorithmName.NO_QUANTIZE)
    return manager.get_quantization_recipe()


def _calibrated(content: bytes, recipe: Any, images: list[np.ndarray], threads: int) -> _Ranges:
    """Ends of every activation's range on every image, `[images, ...]`."""
    from ai_edge_quantizer.calibrator import Calibrator  # pyright: ignore[reportMissingImports]
    from ai_edge_quantizer.recipe_manager import RecipeManager  # pyright: ignore[reportMissingImports]

    def gather(known: MutableMapping[str, Any], new: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
        return {end: [*_listed(known[end]), new[end]] for end in _ENDS}

    manager = RecipeManager()
    manager.load_quantization_recipe(recipe)
    calibrator = Calibrator(content, num_threads=threads, qsv_update_func=gather)
    calibrator.calibrate({_SIGNATURE: [{"images": image} for image in images]}, manager)
    return {
        tensor: {end: np.stack(_listed(found[end])) for end in _ENDS}
        for tensor, found in calibrator.get_model_qsvs().items()
    }


def _quantised(content: bytes, recipe: Any, ranges: _Ranges) -> bytes:
    from ai_edge_quantizer.quantizer import Quantizer  # pyright: ignore[reportMissingImports]

    quantizer: Any = Quantizer(content, recipe)
    return bytes(quantizer.quantize(ranges, enable_progress_bar=False, enable_progress_report=False).quantized_model)


def _listed(values: Any) -> list[np.ndarray]:
    return values if isinstance(values, list) else [values]


def _ranges(ends: _Ranges, way: Mapping[str, Callable[..., np.ndarray]]) -> _Ranges:
    return {tensor: {end: way[end](values, axis=0) for end, values in found.items()} for tensor, found in ends.items()}


def _top1(content: bytes, samples: Samples, threads: int) -> float:
    logits = litert_logits(content, threads)(samples.selection)
    return float((answers(logits) == samples.labels).float().mean())
