"""What a TensorRT engine holds, from the description that the library gives of it."""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

from ...latency_tables.runtimes.tensorrt_engine import LoadedEngine

_DTYPES = {
    "Float": "float32",
    "FP32": "float32",
    "Half": "float16",
    "FP16": "float16",
    "Int8": "int8",
    "INT8": "int8",
    "Int32": "int32",
    "INT32": "int32",
    "Int64": "int64",
    "INT64": "int64",
}
_KINDS_WITH_WEIGHTS = re.compile("conv|correlation|gemm|matrix", re.IGNORECASE)


@dataclass(frozen=True)
class EngineTensor:
    """An input or output; open sizes are -1."""

    name: str
    dtype: str
    shape: tuple[int, ...]


@dataclass(frozen=True)
class EngineLayer:
    """One kernel, into which several of the network's operators may have gone.

    Attributes:
        name: the library's.
        kind: the library's word.
        weights: the type in which a convolution or a matrix product is computed; None for other layers.
    """

    name: str
    kind: str
    weights: str | None


@dataclass(frozen=True)
class Inspection:
    """What an engine holds.

    Attributes:
        inputs: what goes in.
        outputs: what comes out.
        batch: smallest, usual and largest.
        layers: in order of execution.
        source: who says so.
    """

    inputs: tuple[EngineTensor, ...]
    outputs: tuple[EngineTensor, ...]
    batch: tuple[int, int, int]
    layers: tuple[EngineLayer, ...]
    source: str

    def facts(self) -> dict[str, Any]:
        """As JSON values."""
        weights = Counter(layer.weights for layer in self.layers if layer.weights)
        return {
            "inspected": self.source,
            "batch": list(self.batch),
            "inputs": [asdict(tensor) | {"shape": list(tensor.shape)} for tensor in self.inputs],
            "outputs": [asdict(tensor) | {"shape": list(tensor.shape)} for tensor in self.outputs],
            "layers": len(self.layers),
            "layers_by_kind": dict(sorted(Counter(layer.kind for layer in self.layers).items())),
            "layers_with_weights": dict(sorted(weights.items())),
        }


def inspect_log(log: Sequence[str], source: str) -> Inspection | None:
    """What the builder said of the engine that it had built; None where it did not describe it."""
    text = next((text for text in log if text.startswith("Layers:")), "")
    layers = layers_of(text)
    tensors = {mode: tuple(_tensors(text, mode)) for mode in ("Input", "Output")}
    if not layers or not all(tensors.values()):
        return None
    size = tensors["Input"][0].shape[0]
    profile = re.search(r"MinShape: \[(\d+).*?OptShape: \[(\d+).*?MaxShape: \[(\d+)", text)
    batch = (int(profile[1]), int(profile[2]), int(profile[3])) if profile and size < 0 else (size, size, size)
    return Inspection(tensors["Input"], tensors["Output"], batch, layers, source)


def inspect_engine(engine: LoadedEngine, library: Any, source: str) -> Inspection:
    """What a loaded engine says of itself.

    Args:
        engine: built with detailed profiling verbosity.
        library: the package that built it.
        source: who says so.
    """
    text = engine.engine.create_engine_inspector().get_engine_information(library.LayerInformationFormat.ONELINE)

    def tensors(names: Sequence[str]) -> tuple[EngineTensor, ...]:
        return tuple(
            EngineTensor(name, str(engine.dtype(name)).removeprefix("torch."), engine.shape(name)) for name in names
        )

    return Inspection(tensors(engine.inputs), tensors(engine.outputs), engine.batches(), layers_of(text), source)


def layers_of(text: str) -> tuple[EngineLayer, ...]:
    """The layers in a description, one a line, as TensorRT writes it."""
    found = re.finditer(r"^Name: (?P<name>.*?), LayerType: (?P<kind>[^,]*), (?P<rest>.*)$", text, re.MULTILINE)
    return tuple(EngineLayer(match["name"], match["kind"], _weights(match["kind"], match["rest"])) for match in found)


def _weights(kind: str, description: str) -> str | None:
    """The type of the largest constant that is a matrix or a stack of filters: what has one row only is a bias."""
    _, _, constants = description.partition("Constants: [")
    constants = constants.partition("], Outputs: [")[0]
    largest, dtype = 0, None
    for match in re.finditer(r"Dimensions: \[([-\d,]*)\].*?Datatype: ([^,}]*)", constants):
        sizes = [int(size) for size in match[1].split(",") if size and int(size) > 1]
        if len(sizes) > 1 and math.prod(sizes) > largest:
            largest, dtype = math.prod(sizes), match[2]
    if dtype is None and _KINDS_WITH_WEIGHTS.search(kind):  # descriptions without constants: the type of what goes in
        first = re.search(r"[Dd]ata[Tt]ype: ([^,}]*)", description)
        dtype = first[1] if first else None
    return _dtype(dtype) if dtype else None


def _tensors(text: str, mode: str) -> list[EngineTensor]:
    pattern = rf"^ Name: (.*?), IOMode: {mode}, DataType: ([^,]*), Dimensions: \[([-\d,]*)\]"
    return [
        EngineTensor(match[1], _dtype(match[2]), tuple(int(size) for size in match[3].split(",")))
        for match in re.finditer(pattern, text, re.MULTILINE)
    ]


def _dtype(words: str) -> str:
    """In PyTorch's words; older libraries put the type among words on the layout."""
    return next((_DTYPES[word] for word in words.split() if word in _DTYPES), words)
