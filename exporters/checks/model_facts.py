"""What is in a model file, and what does it answer to an image that everybody can make again?

`model_facts` is called when a file is exported. As a script, in a process of its own (see `model_process`), this
module does the same for a file that nobody vouches for; it therefore imports nothing of ours.
"""

from __future__ import annotations

import hashlib
import json
import os
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

# As latency_tables/runtimes/onnxruntime.py does, which cannot be imported from here.
os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")

RECIPE = "smooth-1"
"""Names what `probe_images` draws: another drawing would be another name."""

IMAGES = 2
_GRID = 9
_MOST_VALUES = 16
_LONGEST_REASON = 300

Run = Callable[[np.ndarray], np.ndarray]


def probe_images(resolution: int, mean: Sequence[float], std: Sequence[float]) -> np.ndarray:
    """Colours that change smoothly, with a little noise: float32 `[2, C, resolution, resolution]`, normalised.

    A black image would be no probe for networks that divide by the image's own deviation. Pixels are made of whole
    numbers, so that they are the same everywhere.
    """
    channels = len(mean)
    corners = _hashed((IMAGES, _GRID, _GRID, channels)) >> 24
    places = np.arange(resolution) * (_GRID - 1) * 256 // resolution
    cell, part = places >> 8, places & 255
    down = part[None, :, None, None]
    rows = corners[:, cell] * (256 - down) + corners[:, cell + 1] * down
    right = part[None, None, :, None]
    pixels = (rows[:, :, cell] * (256 - right) + rows[:, :, cell + 1] * right) >> 16
    noise = (_hashed(pixels.shape) >> 27) - 16
    images = (np.clip(pixels + noise, 0, 255) / 255 - np.asarray(mean)) / np.asarray(std)
    return np.ascontiguousarray(images.transpose(0, 3, 1, 2).astype(np.float32))


def _hashed(shape: Sequence[int]) -> np.ndarray:
    """Whole numbers below 2^32 (Knuth's multiplicative hash, twice, as once leaves a pattern)."""
    values = np.arange(1, int(np.prod(shape)) + 1, dtype=np.uint32)
    for _ in range(2):
        values = values * np.uint32(2654435761)
        values ^= values >> np.uint32(15)
    return values.astype(np.int64).reshape(shape)


def model_facts(content: bytes, suffix: str, images: np.ndarray) -> dict[str, Any]:
    """What a file tells of itself.

    Args:
        content: of the file.
        suffix: `.onnx` or `.tflite`.
        images: the probe, `[B, C, H, W]`.

    Returns:
        `problem` alone where it is no sound model; else `metadata`, `precision`, `numbers` (weights and constants),
        `tensors` (that hold them), `madds` (of one image; None where some size stays open), `inputs` and `outputs`
        (shapes, None for open sizes), and `answer`: `problem`, or `shape`, `finite`, `top1`, `scale` (the largest
        absolute logit), `values` (some logits of each image) and `steady` (whether it answers the same twice).
    """
    return _litert_facts(content, images) if suffix == ".tflite" else _onnx_facts(content, images)


def _onnx_facts(content: bytes, images: np.ndarray) -> dict[str, Any]:
    import onnx

    try:
        model = onnx.load_from_string(content)
        for tensor in _tensors(model):
            if tensor.data_location == onnx.TensorProto.EXTERNAL or tensor.external_data:
                where = next((entry.value for entry in tensor.external_data if entry.key == "location"), "another file")
                return {"problem": f"weights of it lie in '{where}': an exported file holds them itself"}
        onnx.checker.check_model(model, full_check=True)
    except Exception as error:  # protobuf's, the checker's and shape inference's own types
        return {"problem": f"no sound ONNX model: {_line(error)}"}
    inputs = [value for value in model.graph.input if value.name not in {t.name for t in model.graph.initializer}]
    counted = [tensor for tensor in _tensors(model) if _is_counted(tensor)]
    facts = {
        "metadata": {entry.key: entry.value for entry in model.metadata_props},
        "precision": _precision(model),
        "numbers": sum(_size(tensor.dims) for tensor in counted),
        "tensors": len(counted),
        "madds": _multiply_adds(model, len(images[0])),
        "inputs": [_shape(value) for value in inputs],
        "outputs": [_shape(value) for value in model.graph.output],
    }

    def load() -> tuple[Run, int | None]:
        import onnxruntime

        onnxruntime.disable_telemetry_events()
        onnxruntime.set_default_logger_severity(4)
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = options.inter_op_num_threads = 1
        session = onnxruntime.InferenceSession(content, options, providers=["CPUExecutionProvider"])
        (taken,) = session.get_inputs()
        kinds = {"tensor(float16)": np.float16, "tensor(double)": np.float64}
        kind = kinds.get(taken.type, np.float32)
        fixed = taken.shape[0] if isinstance(taken.shape[0], int) else None
        return lambda batch: np.asarray(session.run(None, {taken.name: batch.astype(kind)})[0]), fixed

    return facts | {"answer": answer_of(load, images)}


def _litert_facts(content: bytes, images: np.ndarray) -> dict[str, Any]:
    if content[4:8] != b"TFL3":
        return {"problem": "it does not begin as LiteRT files do"}
    try:
        from ai_edge_litert import schema_py_generated as schema  # pyright: ignore[reportMissingImports]  # an extra
        from ai_edge_litert.interpreter import Interpreter  # pyright: ignore[reportMissingImports]
    except ImportError:
        return {"missing": "LiteRT is not installed: pip install 'fairnas[litert]'"}
    try:
        model: Any = schema.Model.GetRootAs(content, 0)
        entries = [model.Metadata(number) for number in range(model.MetadataLength())]
        metadata = {
            entry.Name().decode(): model.Buffers(entry.Buffer()).DataAsNumpy().tobytes().decode(errors="replace")
            for entry in entries
        }
        sizes = [model.Buffers(number).DataLength() for number in range(model.BuffersLength())]
        interpreter = Interpreter(model_content=content, num_threads=1)
        interpreter.allocate_tensors()
        (taken,), (given,) = interpreter.get_input_details(), interpreter.get_output_details()
        graphs = [model.Subgraphs(number) for number in range(model.SubgraphsLength())]
        tensors = [graph.Tensors(number) for graph in graphs for number in range(graph.TensorsLength())]
        weights = [
            _size(tensor.ShapeAsNumpy()) for tensor in tensors if sizes[tensor.Buffer()] and tensor.ShapeLength()
        ]
    except Exception as error:  # whatever the library finds wrong
        return {"problem": f"LiteRT cannot load it: {_line(error)}"}
    facts = {
        "metadata": metadata,
        "precision": None,
        "numbers": sum(weights),
        "tensors": len(weights),
        "madds": None,
        "inputs": [[int(size) for size in taken["shape"]]],
        "outputs": [[int(size) for size in given["shape"]]],
    }

    def load() -> tuple[Run, int | None]:
        def run(batch: np.ndarray) -> np.ndarray:
            first_last = batch.transpose(0, 2, 3, 1)
            values = first_last if list(taken["shape"]) == list(first_last.shape) else batch
            interpreter.set_tensor(taken["index"], _quantised(np.ascontiguousarray(values), taken))
            interpreter.invoke()
            return _dequantised(interpreter.get_tensor(given["index"]), given)

        return run, 1

    return facts | {"answer": answer_of(load, images)}


def answer_of(load: Callable[[], tuple[Run, int | None]], images: np.ndarray) -> dict[str, Any]:
    """What a model answers to the probe, as `answer` of `model_facts`.

    Args:
        load: gives what runs it, `[B, C, H, W]` to logits `[B, classes]`, and the size of its batch; None where any is.
        images: the probe.
    """
    try:
        run, fixed = load()
        size = fixed or len(images)
        images = images if fixed is None else np.resize(images, (-(-len(images) // size) * size, *images.shape[1:]))
        batches = [images[start : start + size] for start in range(0, len(images), size)]
        first, again = (np.concatenate([run(batch) for batch in batches]).astype(np.float64) for _ in range(2))
    except Exception as error:  # the runtimes raise types of their own
        return {"problem": _line(error)}
    finite = bool(np.isfinite(first).all()) and first.size > 0
    told = {"shape": list(first.shape), "finite": finite, "steady": bool(np.array_equal(first, again))}
    if not finite or first.ndim != 2:
        return told | {"top1": [], "scale": 0.0, "values": []}
    places = np.linspace(0, first.shape[1] - 1, min(_MOST_VALUES, first.shape[1])).astype(int)
    return told | {
        "top1": [int(place) for place in first.argmax(1)],
        "scale": _rounded(np.abs(first).max()),
        "values": [[_rounded(value) for value in row[places]] for row in first],
    }


def _tensors(model: Any) -> list[Any]:
    """All tensors with values in a model: weights, constants, and those of subgraphs and functions."""
    found: list[Any] = []
    graphs: list[Any] = [model.graph, *model.functions]
    while graphs:
        graph = graphs.pop()
        found += getattr(graph, "initializer", [])
        for sparse in getattr(graph, "sparse_initializer", []):
            found += [sparse.values, sparse.indices]
        for node in graph.node:
            for attribute in node.attribute:
                found += [attribute.t] if attribute.HasField("t") else []
                found += attribute.tensors
                graphs += [attribute.g] if attribute.HasField("g") else []
                graphs += attribute.graphs
                sparse = [attribute.sparse_tensor] if attribute.HasField("sparse_tensor") else []
                for each in (*sparse, *attribute.sparse_tensors):
                    found += [each.values, each.indices]
    return found


def _is_counted(tensor: Any) -> bool:
    """Whether it has a type of weights or, in quantised models, of biases; int64 holds shapes."""
    from onnx import TensorProto

    counted = ("FLOAT", "FLOAT16", "BFLOAT16", "DOUBLE", "INT8", "UINT8", "INT32")
    return tensor.data_type in {getattr(TensorProto, name) for name in counted}


def _precision(model: Any) -> str:
    if any(node.op_type == "DequantizeLinear" for node in model.graph.node):
        return "int8"
    return "fp16" if any(tensor.data_type == 10 for tensor in model.graph.initializer) else "fp32"  # FLOAT16


def _multiply_adds(model: Any, channels: int) -> int | None:
    """Of convolutions and products of matrices for one image; None where a size is not known."""
    import onnx

    fixed = onnx.ModelProto()
    fixed.CopyFrom(model)
    del fixed.graph.value_info[:]
    names = {tensor.name for tensor in fixed.graph.initializer}
    for value in fixed.graph.input:
        dims = value.type.tensor_type.shape.dim
        if value.name not in names and len(dims) == 4:
            dims[0].dim_value = 1
    try:
        graph = onnx.shape_inference.infer_shapes(fixed, data_prop=True).graph
    except Exception:  # the checker has had its say; some sizes merely stay unknown
        return None
    shapes = {value.name: _shape(value) for value in (*graph.input, *graph.value_info, *graph.output)}
    shapes |= {tensor.name: list(tensor.dims) for tensor in graph.initializer}
    total = 0
    for node in graph.node:
        if node.op_type not in ("Conv", "ConvTranspose", "Gemm", "MatMul"):
            continue
        first, second, output = (shapes.get(name) for name in (*node.input[:2], node.output[0]))
        if first is None or second is None or output is None or None in (*first, *second, *output):
            return None
        if node.op_type == "Conv":
            total += _size(output) * _size(second[1:])
        elif node.op_type == "ConvTranspose":
            total += _size(first) * _size(second[1:])
        else:
            inner: Any = first
            transposed = any(attribute.name == "transA" and attribute.i for attribute in node.attribute)
            total += _size(output) * inner[0 if transposed else -1]
    return total


def _shape(value: Any) -> list[int | None]:
    return [size.dim_value if size.HasField("dim_value") else None for size in value.type.tensor_type.shape.dim]


def _size(dims: Any) -> int:
    return int(np.prod([int(size) for size in dims], dtype=np.int64))


def _quantised(values: np.ndarray, details: dict[str, Any]) -> np.ndarray:
    if np.issubdtype(details["dtype"], np.floating):
        return values.astype(details["dtype"])
    scale, zero = details["quantization"]
    limits = np.iinfo(details["dtype"])
    return np.clip(np.round(values / scale) + zero, limits.min, limits.max).astype(details["dtype"])


def _dequantised(values: np.ndarray, details: dict[str, Any]) -> np.ndarray:
    if np.issubdtype(details["dtype"], np.floating):
        return values.astype(np.float32)
    scale, zero = details["quantization"]
    return (values.astype(np.float32) - zero) * scale


def _rounded(value: float) -> float:
    return float(f"{value:.6g}")


def _line(error: Exception) -> str:
    return " ".join(str(error).split())[:_LONGEST_REASON] or type(error).__name__


def _main() -> None:
    """Answer the request on standard input, in JSON on standard output, within the limits that it names."""
    import resource

    # What libraries print goes elsewhere: standard output is for the answer.
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    asked = json.load(sys.stdin)
    for limit, value in (
        ("RLIMIT_AS", "bytes"),
        ("RLIMIT_CPU", "seconds"),
        ("RLIMIT_FSIZE", None),
        ("RLIMIT_CORE", None),
    ):
        most = 0 if value is None else asked[value]
        resource.setrlimit(getattr(resource, limit), (most, most))
    path = Path(asked["path"])
    content = path.read_bytes()
    if hashlib.sha256(content).hexdigest() != asked["sha256"]:
        facts: dict[str, Any] = {"problem": "it was changed while it was looked at"}
    else:
        facts = model_facts(content, path.suffix, probe_images(asked["resolution"], asked["mean"], asked["std"]))
    json.dump(facts, answers)
    answers.close()


if __name__ == "__main__":
    _main()
