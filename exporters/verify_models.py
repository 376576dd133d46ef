"""Does a model file say the same as its passport: preprocessing, labels, shapes, size?"""

from __future__ import annotations

import dataclasses
import importlib.util
import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import torch
from google.protobuf.message import DecodeError
from onnx import TensorProto

from .findings import Finding, failed, ok, skipped
from .litert_files import read_metadata
from .litert_runtime import MISSING, litert_logits
from .parity import onnx_logits
from .passport import FormatRecord, Passport

ENGINE_SUFFIXES = (".engine", ".plan")
ENGINE_HEADS = (b"ftrt", b"ptrt")
"""How TensorRT's serialised engines begin."""

RTX_HEAD = b"vtrt" + bytes(4) + (2).to_bytes(8, "little")
"""How those of TensorRT-RTX 1.1 begin; then comes their own size, in 8 bytes."""

PARAMS_TOLERANCE = 0.2
"""Batch normalisation is folded into its convolution, which leaves one of its two parameters per channel; quantised
models have scales besides. Neither comes near a fifth of a network."""

_COUNTED = {
    TensorProto.FLOAT,
    TensorProto.FLOAT16,
    TensorProto.BFLOAT16,
    TensorProto.DOUBLE,
    TensorProto.INT8,
    TensorProto.UINT8,
    TensorProto.INT32,
}
"""Types of weights and, in quantised models, of biases; int64 holds shapes."""


def check_model(
    path: Path, name: str, record: FormatRecord, passport: Passport, *, is_model: bool
) -> Iterator[Finding]:
    """Check what is in one file whose bytes are the exported ones.

    Args:
        path: of the file.
        name: as findings call it.
        record: of its format.
        passport: what it must agree with.
        is_model: whether it is the format's first file, or one that comes with it.
    """
    if is_model and path.suffix == ".onnx":
        yield from _check_onnx(path, name, record, passport)
    elif is_model and path.suffix == ".tflite":
        yield from _check_litert(path, name, passport)
    elif is_model and path.suffix in ENGINE_SUFFIXES:
        yield _check_engine(path, name)
    else:
        yield skipped(name, "content", f"nothing but its bytes is checked of this file of {record.format}")


def _check_onnx(path: Path, name: str, record: FormatRecord, passport: Passport) -> Iterator[Finding]:
    try:
        model = onnx.load(path)
        onnx.checker.check_model(model, full_check=True)
    except (onnx.checker.ValidationError, onnx.shape_inference.InferenceError, DecodeError, OSError) as error:
        yield failed(name, "ONNX", f"no sound ONNX model: {_line(error)}")
        return
    yield ok(name, "ONNX")
    yield _compared(name, "precision", _precision(model), record.format.partition("-")[2] or "fp32")
    yield from _check_metadata(name, {entry.key: entry.value for entry in model.metadata_props}, passport)
    side, channels = passport.resolution, len(passport.preprocessing.mean)
    yield _compared(name, "input", [_shape(value) for value in model.graph.input], [[None, channels, side, side]])
    yield _compared(name, "output", [_shape(value) for value in model.graph.output], [[None, passport.num_classes]])
    yield _check_params(name, _count_params(model), passport.params)
    try:
        logits = onnx_logits(path.read_bytes())(torch.zeros(2, channels, side, side)).numpy()
    except Exception as error:  # ONNX Runtime raises its own types, which share no base but Exception
        yield failed(name, "run", f"ONNX Runtime cannot run it: {_line(error)}")
    else:
        yield _check_answer(name, logits, (2, passport.num_classes))


def _check_litert(path: Path, name: str, passport: Passport) -> Iterator[Finding]:
    content = path.read_bytes()
    if content[4:8] != b"TFL3":
        yield failed(name, "LiteRT", "it does not begin as LiteRT files do")
        return
    if importlib.util.find_spec("ai_edge_litert") is None:
        yield skipped(name, "LiteRT", MISSING)
        return
    side, channels = passport.resolution, len(passport.preprocessing.mean)
    try:
        metadata = read_metadata(content)
        logits = litert_logits(content)(torch.zeros(1, channels, side, side)).numpy()
    except Exception as error:  # whatever the interpreter finds wrong
        yield failed(name, "LiteRT", f"LiteRT cannot run it: {_line(error)}")
        return
    yield ok(name, "LiteRT")
    yield from _check_metadata(name, metadata, passport)
    yield _check_answer(name, logits, (1, passport.num_classes))


def _check_engine(path: Path, name: str) -> Finding:
    with path.open("rb") as file:
        head = file.read(24)
    if not head:
        return failed(name, "engine", "it is empty")
    if head[:4] in ENGINE_HEADS:
        return ok(name, "engine")
    if head[:16] != RTX_HEAD:
        return skipped(name, "engine", f"it begins with {head[:4]!r}, of which nothing is known; its bytes are checked")
    stated = int.from_bytes(head[16:24], "little")
    if stated != path.stat().st_size:
        return failed(name, "engine", f"it has {path.stat().st_size:,} bytes, and says {stated:,} of itself")
    return ok(name, "engine")


def _check_metadata(name: str, metadata: Mapping[str, str], passport: Passport) -> Iterator[Finding]:
    yield _compared(name, "preprocessing", _json(metadata.get("preprocessing")), _preprocessing(passport))
    yield _compared(name, "classes", _json(metadata.get("labels")), passport.classes)


def _check_answer(name: str, logits: np.ndarray, shape: tuple[int, int]) -> Finding:
    if logits.shape != shape:
        return failed(name, "run", f"it answers {list(logits.shape)}, where {list(shape)} was expected")
    if not np.isfinite(logits).all():
        return failed(name, "run", "it answers a black image with what are no numbers")
    return ok(name, "run")


def _check_params(name: str, counted: int, stated: int) -> Finding:
    if abs(counted - stated) <= PARAMS_TOLERANCE * stated:
        return ok(name, "parameters")
    return failed(name, "parameters", f"it holds {counted:,} of them, the passport says {stated:,}")


def _count_params(model: onnx.ModelProto) -> int:
    """Numbers among the weights of a model, constants of its graph included."""
    tensors = list(model.graph.initializer)
    for node in model.graph.node:
        tensors += [
            attribute.t for attribute in node.attribute if node.op_type == "Constant" and attribute.HasField("t")
        ]
    return sum(int(np.prod(tensor.dims)) for tensor in tensors if tensor.data_type in _COUNTED)


def _precision(model: onnx.ModelProto) -> str:
    if any(node.op_type == "DequantizeLinear" for node in model.graph.node):
        return "int8"
    halves = any(tensor.data_type == TensorProto.FLOAT16 for tensor in model.graph.initializer)
    return "fp16" if halves else "fp32"


def _shape(value: onnx.ValueInfoProto) -> list[int | None]:
    """Sizes, None for those that are open."""
    return [size.dim_value if size.HasField("dim_value") else None for size in value.type.tensor_type.shape.dim]


def _preprocessing(passport: Passport) -> Any:
    """As JSON holds it, where tuples are lists."""
    return json.loads(json.dumps(dataclasses.asdict(passport.preprocessing)))


def _json(text: str | None) -> Any:
    try:
        return json.loads(text or "null")
    except ValueError:
        return text


def _compared(name: str, what: str, found: Any, stated: Any) -> Finding:
    return ok(name, what) if found == stated else failed(name, what, f"it says {found}, the passport {stated}")


def _line(error: Exception) -> str:
    return " ".join(str(error).split())[:300]
