"""Where an exported file begins to differ from the network that it was made from."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import onnx
from torch import Tensor, nn

from .onnx.graph import WEIGHTED, consumers, inner_tensors, loaded, producers
from .onnx.module_outputs import module_outputs, module_paths

WORST = 5  # layers that are listed


@dataclass(frozen=True, slots=True)
class LayerError:
    """How far a layer's output is from the reference's.

    Attributes:
        layer: its name.
        error: root mean square of the difference, relative to that of the reference's output.
    """

    layer: str
    error: float


@dataclass(frozen=True, slots=True)
class Divergence:
    """The first layer whose answer differs by more than it may.

    Attributes:
        layer: its name in the network.
        error: of its output, relative to its size.
        tolerance: what would have passed.
        worst: the layers that differ most, largest error first.
    """

    layer: str
    error: float
    tolerance: float
    worst: tuple[LayerError, ...] = ()


def first_divergence(
    reference: onnx.ModelProto | bytes, other: onnx.ModelProto | bytes, images: Tensor, tolerance: float
) -> Divergence | None:
    """The first layer of an ONNX model, in the order of computation, whose output differs in another.

    Tensors are matched by name, so `other` is to be made from `reference`: in float16, or in 8 bits. An 8-bit tensor
    is compared as its readers see it. What only one of them has (the input of a ReLU that became part of a
    convolution) is passed over, and so is the input of a hard sigmoid, which may be cut off where that is 0.

    Args:
        reference: in float32, from images `[B, C, H, W]`.
        other: with the same input.
        images: preprocessed, `[N, C, H, W]`.
        tolerance: largest error that passes: root mean square of the difference, relative to that of the reference.

    Returns:
        The layer, by the name of its node in `reference`; None where all agree.

    Raises:
        ExportError: one of them cannot be loaded.
    """
    return _first(layer_errors(reference, other, images), tolerance)


def layer_errors(
    reference: onnx.ModelProto | bytes, other: onnx.ModelProto | bytes, images: Tensor
) -> list[LayerError]:
    """How far each layer is off, in the order of computation; see `first_divergence`."""
    first, second = _model(reference), _model(other)
    pairs = _common(first, second)
    if not pairs:
        return []
    sums = _Sums(pairs)
    batches = zip(
        inner_tensors(first, list(pairs), images, _BATCH),
        inner_tensors(second, list(pairs.values()), images, _BATCH),
        strict=True,
    )
    for expected, answered in batches:
        for name, twin in pairs.items():
            sums.add(name, expected[name], answered[twin])
    names = _layer_names(first, pairs)
    return [LayerError(names[name], sums.error(name)) for name in pairs]


def first_divergence_from_torch(
    network: nn.Module, content: bytes, images: Tensor, tolerance: float
) -> Divergence | None:
    """The first layer of a float ONNX model whose output differs from its module's in PyTorch.

    Layers are matched by the module that the exporter names them after. A batch norm that became part of a
    convolution is taken into account; modules that are called more than once are passed over.

    Args:
        network: on the CPU; put into evaluation mode.
        content: of the file.
        images: preprocessed, `[N, C, H, W]`.
        tolerance: as in `first_divergence`.

    Returns:
        The layer, by the name of its node; None where all agree.

    Raises:
        ExportError: the file cannot be loaded.
    """
    model = loaded(content)
    last_nodes: dict[str, onnx.NodeProto] = {}  # what a module answers comes from the last node in it
    for node in model.graph.node:
        last_nodes |= dict.fromkeys(module_paths(network, node.name), node)
    normed = {node.input[0] for node in model.graph.node if node.op_type == "BatchNormalization"}
    unfolded = {path for path, node in last_nodes.items() if node.output[0] in normed}
    expected = module_outputs(network, images, unfolded)
    outputs = {node.output[0]: expected[path] for path, node in last_nodes.items() if path in expected}
    nodes = {name: node.name for node in model.graph.node for name in node.output if name in outputs}
    nodes = {name: node for name, node in nodes.items() if len(outputs[name]) % len(images) == 0}
    sums, place = _Sums(nodes), 0
    for answered in inner_tensors(model, list(nodes), images, _BATCH) if nodes else ():
        for name in nodes:
            each = len(outputs[name]) // len(images)  # modules may see an image as several: windows, patches
            sums.add(name, outputs[name][place * each : (place + _BATCH) * each].numpy(), answered[name])
        place += _BATCH
    return _first([LayerError(node, sums.error(name)) for name, node in nodes.items()], tolerance)


_BATCH = 4
_UNARY = ("Relu", "Clip", "HardSwish", "HardSigmoid", "Sigmoid", "LeakyRelu", "Identity")
_CUT_OFF = ("HardSwish", "HardSigmoid")  # in 8 bits their input may begin where they leave 0
_TINY = float(np.finfo(np.float32).tiny)


class _Sums:
    """Sums of squares by tensor, over batches."""

    def __init__(self, names: Sequence[str] | Mapping[str, str]) -> None:
        self._squares = {name: np.zeros(2) for name in names}

    def add(self, name: str, expected: np.ndarray, answered: np.ndarray) -> None:
        if expected.shape != answered.shape:
            self._squares[name] += np.inf, 1
            return
        with np.errstate(over="ignore", invalid="ignore"):  # a broken file may hold anything
            difference = expected.astype(np.float64) - answered
            self._squares[name] += np.square(difference).sum(), np.square(expected, dtype=np.float64).sum()

    def error(self, name: str) -> float:
        difference, size = self._squares[name]
        return float(np.sqrt(difference / max(size, _TINY)))


def _first(errors: list[LayerError], tolerance: float) -> Divergence | None:
    # What is no number does not pass either, and is worst of all.
    worst = sorted(errors, key=lambda each: -each.error if each.error == each.error else -np.inf)[:WORST]
    for each in errors:
        if not each.error <= tolerance:
            return Divergence(each.layer, each.error, tolerance, tuple(worst))
    return None


def _model(given: onnx.ModelProto | bytes) -> onnx.ModelProto:
    return loaded(given) if isinstance(given, bytes) else given


def _common(reference: onnx.ModelProto, other: onnx.ModelProto) -> dict[str, str]:
    """Tensors of the reference, in order, and what holds the same in the other model."""
    made, read = producers(other), consumers(other)
    passed_over = {node.input[0] for node in reference.graph.node if node.op_type in _CUT_OFF}
    found = {}
    for node in reference.graph.node:
        for name in node.output:
            if name in made and name not in passed_over and not _is_constant(node, reference):
                found[name] = next(_as_readers_see(name, read), name)
    return found


def _is_constant(node: onnx.NodeProto, model: onnx.ModelProto) -> bool:
    stored = {tensor.name for tensor in model.graph.initializer}
    return all(name in stored for name in node.input)


def _as_readers_see(name: str, read: Mapping[str, list[onnx.NodeProto]]) -> Iterator[str]:
    """Where a tensor that is quantised is dequantised with the same scale."""
    for quantise in read[name]:
        if quantise.op_type != "QuantizeLinear":
            continue
        for back in read[quantise.output[0]]:
            if back.op_type == "DequantizeLinear" and back.input[1] == quantise.input[1]:
                yield back.output[0]


def _layer_names(model: onnx.ModelProto, compared: Mapping[str, str]) -> dict[str, str]:
    """The name of the node that makes a tensor; of an activation, the layer's before it if that is not compared."""
    made = producers(model)
    names = {}
    for name in compared:
        node = before = made[name]
        while before.op_type in _UNARY and before.input[0] not in compared and before.input[0] in made:
            before = made[before.input[0]]
        names[name] = before.name if before.op_type in WEIGHTED else node.name
    return names
