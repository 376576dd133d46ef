"""The formats `onnx`, `onnx-fp16` and `onnx-int8`."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..format import Format, Ingredients

if TYPE_CHECKING:
    import numpy as np
    from torch import Tensor

    from ..checks.findings import Finding
    from ..deployable import Exported, Logits
    from ..passport.passport import Passport
    from ..passport.records import ExportedFile, FormatRecord, MemoryRecord


class _OnnxFile(Format):
    """What ONNX files of every precision have in common."""

    runtime = "ONNX Runtime"
    packages = ("onnx", "onnxruntime")
    suffixes = (".onnx",)
    is_onnx = True

    def answers(self, content: bytes) -> Logits:
        """See `Format.answers`."""
        from ..parity import onnx_logits

        return onnx_logits(content)

    def memory(self, path: Path) -> MemoryRecord:
        """See `Format.memory`."""
        from ..memory import measure_memory

        return measure_memory(path)

    def first_diverging_layer(
        self, given: Ingredients, exported: Exported, images: Tensor, tolerance: float
    ) -> str | None:
        """See `Format.first_diverging_layer`."""
        from ..divergence import first_divergence

        found = first_divergence(given.reference_onnx(self.name), exported.model, images, tolerance)
        return found.layer if found else None

    def holds(self, content: bytes, passport: Passport, images: np.ndarray) -> dict[str, Any]:
        """See `Format.holds`."""
        from ..checks.model_facts import model_facts

        return model_facts(content, ".onnx", images)

    def check(
        self, path: Path, file: ExportedFile, record: FormatRecord, passport: Passport, seconds: float
    ) -> Iterator[Finding]:
        """See `Format.check`."""
        from .check import check_onnx

        yield from check_onnx(self, path, file, record, passport, seconds)


class Onnx(_OnnxFile):
    """Float32: what most other formats are made from."""

    name = "onnx"
    files = ("model.onnx",)

    def make(self, given: Ingredients) -> Exported:
        """See `Format.make`."""
        from ..deployable import Exported
        from ..parity import onnx_logits

        content = given.float_onnx
        facts = {"branches_on_data": given.branches} if given.branches else {}
        return Exported(self.name, {self.files[0]: content}, onnx_logits(content), facts=facts)

    def first_diverging_layer(
        self, given: Ingredients, exported: Exported, images: Tensor, tolerance: float
    ) -> str | None:
        """See `Format.first_diverging_layer`."""
        from ..divergence import first_divergence_from_torch

        found = first_divergence_from_torch(given.reference(self.name).network, exported.model, images, tolerance)
        return found.layer if found else None


class OnnxFp16(_OnnxFile):
    """Half precision inside."""

    name = "onnx-fp16"
    files = ("model.fp16.onnx",)
    precision = "fp16"
    made_from = Onnx.name

    def make(self, given: Ingredients) -> Exported:
        """See `Format.make`."""
        from .fp16 import to_fp16

        return to_fp16(given.float_onnx)


class OnnxInt8(_OnnxFile):
    """8 bits, calibrated on real images."""

    name = "onnx-int8"
    files = ("model.int8.onnx",)
    precision = "int8"
    made_from = Onnx.name

    def make(self, given: Ingredients) -> Exported:
        """See `Format.make`."""
        from .int8 import quantise_onnx

        return quantise_onnx(given.reference_onnx(self.name), given.samples, given.settings.int8, given.say)
