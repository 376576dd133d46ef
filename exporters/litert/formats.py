"""The formats `litert` and `litert-int8`."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..format import Format, Ingredients

if TYPE_CHECKING:
    import numpy as np
    from torch import Tensor

    from ..checks.findings import Finding
    from ..deployable import Exported
    from ..passport.passport import Passport
    from ..passport.records import ExportedFile, FormatRecord, LatencyRecord, MemoryRecord


class _LiteRtFile(Format):
    """What LiteRT files of every precision have in common."""

    runtime = "LiteRT"
    extra = "litert"
    packages = ("litert-torch", "ai-edge-litert")
    suffixes = (".tflite",)

    def latency_here(self, content: bytes, shape: Sequence[int], rounds: int) -> LatencyRecord:
        """See `Format.latency_here`."""
        from .latency import latency_here

        return latency_here(content, shape, rounds)

    def memory(self, path: Path) -> MemoryRecord:
        """See `Format.memory`."""
        from ..memory import measure_memory

        return measure_memory(path)

    def first_diverging_layer(
        self, given: Ingredients, exported: Exported, images: Tensor, tolerance: float
    ) -> str | None:
        """See `Format.first_diverging_layer`."""
        from .divergence import litert_divergence

        found = litert_divergence(given.reference(self.name).network, exported.model, images, tolerance)
        return found.layer if found else None

    def holds(self, content: bytes, passport: Passport, images: np.ndarray) -> dict[str, Any]:
        """See `Format.holds`."""
        from ..checks.model_facts import model_facts

        return model_facts(content, ".tflite", images)

    def check(
        self, path: Path, file: ExportedFile, record: FormatRecord, passport: Passport, seconds: float
    ) -> Iterator[Finding]:
        """See `Format.check`."""
        from .check import check_litert

        yield from check_litert(self, path, file, record, passport, seconds)


class LiteRt(_LiteRtFile):
    """Float32."""

    name = "litert"
    files = ("model.tflite",)

    def make(self, given: Ingredients) -> Exported:
        """See `Format.make`."""
        from .export import to_litert

        given.say("converting")
        return to_litert(given.reference(self.name), given.settings.litert)


class LiteRtInt8(_LiteRtFile):
    """8 bits, calibrated on real images."""

    name = "litert-int8"
    files = ("model.int8.tflite",)
    precision = "int8"
    made_from = LiteRt.name

    def make(self, given: Ingredients) -> Exported:
        """See `Format.make`."""
        from .export import to_litert_int8

        given.say("converting")
        return to_litert_int8(given.reference(self.name), given.samples, given.settings.litert)
