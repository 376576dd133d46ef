"""What several parts ask of an ONNX graph: who makes a tensor, who reads it, and what is inside."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence

import numpy as np
import onnx
from torch import Tensor

from ...latency_tables.runtimes.onnxruntime import onnxruntime
from ..errors import ExportError

WEIGHTED = ("Conv", "Gemm", "MatMul")
"""Operators that multiply by trained weights."""

_BATCH = 16


def loaded(content: bytes) -> onnx.ModelProto:
    """A model from a file's content.

    Raises:
        ExportError: it is none.
    """
    try:
        model = onnx.load_from_string(content)
    except Exception as error:  # protobuf's errors share no base class with onnx's
        raise ExportError("this is no ONNX file, or a damaged one") from error
    if not model.graph.node:  # protobuf takes an empty file for a message without content
        raise ExportError("this ONNX file has no operators")
    return model


def copied(model: onnx.ModelProto) -> onnx.ModelProto:
    """A model of its own, that can be changed."""
    copy = onnx.ModelProto()
    copy.CopyFrom(model)
    return copy


def producers(model: onnx.ModelProto) -> dict[str, onnx.NodeProto]:
    """The node that makes a tensor, by the tensor's name."""
    return {output: node for node in model.graph.node for output in node.output}


def consumers(model: onnx.ModelProto) -> Mapping[str, list[onnx.NodeProto]]:
    """The nodes that read a tensor, by the tensor's name; none for what nobody reads."""
    found: defaultdict[str, list[onnx.NodeProto]] = defaultdict(list)
    for node in model.graph.node:
        for name in node.input:
            found[name].append(node)
    return found


def constants(model: onnx.ModelProto) -> dict[str, np.ndarray]:
    """Initializers by name."""
    return {tensor.name: onnx.numpy_helper.to_array(tensor) for tensor in model.graph.initializer}


def replace_nodes(model: onnx.ModelProto, nodes: Iterable[onnx.NodeProto]) -> None:
    """Let a graph have these nodes, in this order, and no initializer that none of them reads."""
    kept = list(nodes)
    del model.graph.node[:]
    model.graph.node.extend(kept)
    read = {name for node in kept for name in node.input} | {value.name for value in model.graph.output}
    initializers = [tensor for tensor in model.graph.initializer if tensor.name in read]
    del model.graph.initializer[:]
    model.graph.initializer.extend(initializers)


def without_unread(nodes: Sequence[onnx.NodeProto], model: onnx.ModelProto) -> list[onnx.NodeProto]:
    """Nodes without those dequantising ones that none of the others reads."""
    read = {name for node in nodes for name in node.input} | {value.name for value in model.graph.output}
    return [node for node in nodes if node.op_type != "DequantizeLinear" or read & set(node.output)]


def shapes(model: onnx.ModelProto) -> dict[str, tuple[int | None, ...]]:
    """Inferred shapes by tensor; None is an open size."""
    inferred = onnx.shape_inference.infer_shapes(model).graph
    return {
        value.name: tuple(
            size.dim_value if size.HasField("dim_value") else None for size in value.type.tensor_type.shape.dim
        )
        for value in (*inferred.input, *inferred.value_info, *inferred.output)
    }


def float_tensors(model: onnx.ModelProto) -> set[str]:
    """Names of the tensors that hold float32 numbers; others are shapes, places and conditions."""
    inferred = onnx.shape_inference.infer_shapes(model).graph
    return {
        value.name
        for value in (*inferred.input, *inferred.value_info, *inferred.output)
        if value.type.tensor_type.elem_type == onnx.TensorProto.FLOAT
    }


def inner_tensors(
    model: onnx.ModelProto, names: Sequence[str], images: Tensor, batch: int = _BATCH
) -> Iterator[dict[str, np.ndarray]]:
    """What tensors inside a model hold, float32, batch by batch.

    Args:
        model: with one input, of images `[B, C, H, W]`, whose batch is open.
        names: of the tensors.
        images: preprocessed, `[N, C, H, W]`.
        batch: images at a time.

    Raises:
        ExportError: ONNX Runtime cannot load the model, or not run it on these images.
    """
    exposed = copied(model)
    known = {value.name for value in exposed.graph.output}
    exposed.graph.output.extend(onnx.ValueInfoProto(name=name) for name in names if name not in known)
    session = quiet_session(exposed.SerializeToString())
    (taken,) = session.get_inputs()
    for start in range(0, len(images), batch):
        try:
            values = session.run(list(names), {taken.name: np.ascontiguousarray(images[start : start + batch].numpy())})
        except Exception as error:  # ONNX Runtime's own, for images of another size
            raise ExportError(f"ONNX Runtime cannot run the model: {' '.join(str(error).split())}") from error
        yield {name: np.asarray(value, np.float32) for name, value in zip(names, values, strict=True)}


def quiet_session(content: bytes, optimized: str | None = None) -> onnxruntime.InferenceSession:
    """A session on the CPU that says nothing, with as many threads as ONNX Runtime takes.

    Args:
        content: of the ONNX file.
        optimized: where to write the model that is really run.

    Raises:
        ExportError: ONNX Runtime cannot load the model.
    """
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    if optimized is not None:
        options.optimized_model_filepath = optimized
    try:
        return onnxruntime.InferenceSession(content, options, providers=["CPUExecutionProvider"])
    except Exception as error:  # ONNX Runtime raises its own types, which share no base but Exception
        raise ExportError(f"ONNX Runtime cannot load the model: {' '.join(str(error).split())}") from error
