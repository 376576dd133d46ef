"""Which runtime a table's times are of, and whether that is the one a file will run in."""

from __future__ import annotations

from ..table import LatencyTable

_FAMILIES = {
    "tensorflow lite": "LiteRT",
    "tflite": "LiteRT",
    "litert": "LiteRT",
    "onnx runtime": "ONNX Runtime",
    "onnxruntime": "ONNX Runtime",
    "tensorrt": "TensorRT",
    "pytorch": "PyTorch",
}


def runtime_family(text: str) -> str | None:
    """`LiteRT` (TensorFlow Lite's name today), `ONNX Runtime`, `TensorRT` or `PyTorch`; None where none is named."""
    lowered = text.lower()
    if "not named" in lowered:
        return None
    return next((family for word, family in _FAMILIES.items() if word in lowered), None)


def runtime_warning(table: LatencyTable, file_format: str, runs_in: str) -> str | None:
    """What to say where a table's prediction stands beside a file of another runtime, in one line; None where equal.

    Args:
        table: what predicts.
        file_format: what the file is, in a word.
        runs_in: its runtime, as `runtime_family` calls it.
    """
    if runtime_family(table.runtime) == runs_in:
        return None
    of = f"of {table.runtime}" if runtime_family(table.runtime) else "of a runtime that its source does not name"
    return f"the table is {of}; {file_format} files run in {runs_in}, where they may take more or less time"


def about_networks(table: LatencyTable) -> str | None:
    """What whole networks said of the table, in one line."""
    factor = table.network_factor
    if factor is None:
        return None
    return f"predictions are multiplied by {factor.factor:g} (90% within {factor.error:.1%}), from {factor.source}"
