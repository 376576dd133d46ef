"""What is inside a LiteRT file: its metadata, and its operators with the numbers they compute in."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from typing import Any

import numpy as np

from ..errors import ExportError
from .runtime import MISSING


def with_metadata(content: bytes, entries: Mapping[str, str]) -> bytes:
    """A LiteRT file with named texts in it; what it had under these names is replaced.

    Args:
        content: of the file.
        entries: text by name.

    Raises:
        ExportError: LiteRT is not installed.
    """
    schema, utils = _libraries()
    model = utils.read_model_from_bytearray(bytearray(content))
    kept = [entry for entry in model.metadata or [] if entry.name.decode() not in entries]
    for name, text in entries.items():
        model.buffers.append(schema.BufferT(data=np.frombuffer(text.encode(), np.uint8)))
        kept.append(schema.MetadataT(name=name.encode(), buffer=len(model.buffers) - 1))
    model.metadata = kept
    return bytes(utils.convert_object_to_bytearray(model))


def read_metadata(content: bytes) -> dict[str, str]:
    """The named texts in a LiteRT file.

    Raises:
        ExportError: LiteRT is not installed.
    """
    schema, _ = _libraries()
    model = schema.Model.GetRootAs(content, 0)
    entries = (model.Metadata(number) for number in range(model.MetadataLength()))
    return {
        entry.Name().decode(): model.Buffers(entry.Buffer()).DataAsNumpy().tobytes().decode(errors="replace")
        for entry in entries
    }


def operators(content: bytes) -> dict[str, dict[str, int]]:
    """How often each operator is in a LiteRT file, by the type of what it gives: `{"float32": {"CONV_2D": 3}}`.

    Raises:
        ExportError: LiteRT is not installed.
    """
    schema, utils = _libraries()
    names = {code: name for name, code in vars(schema.BuiltinOperator).items() if not name.startswith("_")}
    types = {code: name.lower() for name, code in vars(schema.TensorType).items() if not name.startswith("_")}
    model = utils.read_model_from_bytearray(bytearray(content))
    found: dict[str, Counter[str]] = {}
    for graph in model.subgraphs:
        for operator in graph.operators:
            name = names[model.operatorCodes[operator.opcodeIndex].builtinCode]
            gives = types[graph.tensors[operator.outputs[0]].type]
            found.setdefault(gives, Counter())[name] += 1
    return {gives: dict(sorted(counts.items())) for gives, counts in sorted(found.items())}


def _libraries() -> tuple[Any, Any]:
    try:
        from ai_edge_litert import schema_py_generated  # pyright: ignore[reportMissingImports]  # an extra
        from ai_edge_litert.tools import flatbuffer_utils  # pyright: ignore[reportMissingImports]
    except ImportError as error:
        raise ExportError(MISSING) from error
    return schema_py_generated, flatbuffer_utils
