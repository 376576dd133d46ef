"""All export formats. Another one is a class (see `Format`) and a line here."""

from __future__ import annotations

from itertools import groupby

from .errors import ExportError
from .format import Format
from .litert.formats import LiteRt, LiteRtInt8
from .onnx.formats import Onnx, OnnxFp16, OnnxInt8
from .tensorrt.formats import TensorRt, TensorRtFp16, TensorRtInt8

FORMATS: tuple[Format, ...] = (
    Onnx(),
    OnnxFp16(),
    OnnxInt8(),
    TensorRt(),
    TensorRtFp16(),
    TensorRtInt8(),
    LiteRt(),
    LiteRtInt8(),
)


def format_names() -> tuple[str, ...]:
    """Of all formats, in order."""
    return tuple(each.name for each in FORMATS)


def get_format(name: str) -> Format:
    """A format by name.

    Raises:
        ExportError: there is none of that name.
    """
    for each in FORMATS:
        if each.name == name:
            return each
    raise ExportError(f"unknown format '{name}': choose from {', '.join(format_names())}")


def format_of_file(name: str, suffix: str) -> Format | None:
    """The format that can check a model file of a passport: the one of that name, else any whose files end alike."""
    able = [each for each in FORMATS if suffix in each.suffixes]
    return next((each for each in able if each.name == name), able[0] if able else None)


def file_names() -> tuple[str, ...]:
    """Of the files of all formats."""
    return tuple(name for each in FORMATS for name in each.files)


def packages() -> tuple[str, ...]:
    """Distributions that make files of any format."""
    return tuple(dict.fromkeys(name for each in FORMATS for name in each.packages))


def in_short() -> str:
    """All names, those that begin alike together: `onnx[-fp16|-int8], litert`."""
    parts = []
    for kind, names in groupby(format_names(), lambda name: name.partition("-")[0]):
        endings = [name.removeprefix(kind) for name in names]
        more = f"[{'|'.join(ending for ending in endings if ending)}]" if any(endings) else ""
        parts.append(f"{kind}{more}")
    return ", ".join(parts)
