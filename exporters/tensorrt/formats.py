"""The formats `tensorrt`, `tensorrt-fp16` and `tensorrt-int8`."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from ...common.places import cache_root
from ..format import Format, Ingredients

if TYPE_CHECKING:
    from ..checks.findings import Finding
    from ..deployable import Exported
    from ..passport.passport import Passport
    from ..passport.records import ExportedFile, FormatRecord


class _Engine(Format):
    """What engines of every precision have in common: they are built from an ONNX file that computes in theirs."""

    runtime = "TensorRT"
    made_from = "onnx"
    extra = "tensorrt"
    packages = ("tensorrt-rtx-cu13",)
    suffixes = (".engine", ".plan")

    @abstractmethod
    def onnx(self, given: Ingredients) -> bytes:
        """The file that it is built from."""

    def make(self, given: Ingredients) -> Exported:
        """See `Format.make`."""
        from .build import build_engine

        content = self.onnx(given)
        given.say("building the engine")
        return build_engine(content, self.precision, given.settings.tensorrt, cache_root() / "tensorrt")

    def check(
        self, path: Path, file: ExportedFile, record: FormatRecord, passport: Passport, seconds: float
    ) -> Iterator[Finding]:
        """See `Format.check`."""
        from .check import check_engine

        yield check_engine(path, file.path)


class TensorRt(_Engine):
    """Float32."""

    name = "tensorrt"
    files = ("model.fp32.engine",)

    def onnx(self, given: Ingredients) -> bytes:
        """See `_Engine.onnx`."""
        return given.float_onnx


class TensorRtFp16(_Engine):
    """Half precision."""

    name = "tensorrt-fp16"
    files = ("model.fp16.engine",)
    precision = "fp16"

    def onnx(self, given: Ingredients) -> bytes:
        """See `_Engine.onnx`."""
        from ..onnx.fp16 import to_fp16

        return to_fp16(given.float_onnx).model


class TensorRtInt8(_Engine):
    """8 bits, calibrated on real images."""

    name = "tensorrt-int8"
    files = ("model.int8.engine",)
    precision = "int8"

    def onnx(self, given: Ingredients) -> bytes:
        """See `_Engine.onnx`."""
        from ..onnx.int8 import quantise_onnx

        signed = given.settings.int8.model_copy(update={"activations": "signed"})  # TensorRT reads no other
        return quantise_onnx(given.reference_onnx(self.name), given.samples, signed, given.say).model
