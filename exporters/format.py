"""What an export format is: a class that says what it is called, what it leaves, and how it is made and checked.

Its names are known without importing torch or any runtime: what is heavy is imported in the methods.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Literal, Protocol, TypeAlias

from .litert.settings import LiteRtSettings
from .onnx.settings import Int8Settings
from .tensorrt.settings import TensorRtSettings

if TYPE_CHECKING:
    import numpy as np
    from torch import Tensor

    from .checks.findings import Finding
    from .deployable import Deployable, Exported, Logits, Samples
    from .passport.passport import Passport
    from .passport.records import ExportedFile, FormatRecord, LatencyRecord, MemoryRecord

Precision: TypeAlias = Literal["fp32", "fp16", "int8"]

# Root mean square of a layer's difference, relative to its output's. Single layers of networks that keep their accuracy
# in 8 bits were seen to differ by 0.43 (squeeze-and-excitation).
LAYER_TOLERANCE: dict[Precision, float] = {"fp32": 1e-3, "fp16": 0.1, "int8": 0.5}


class FormatSettings(Protocol):
    """Settings of single formats."""

    @property
    def int8(self) -> Int8Settings: ...  # noqa: D102
    @property
    def tensorrt(self) -> TensorRtSettings: ...  # noqa: D102
    @property
    def litert(self) -> LiteRtSettings: ...  # noqa: D102


class Ingredients(Protocol):
    """What formats of one network are made from; what several of them need is made once.

    Attributes:
        branches: lines of the network's own code whose course depends on the images, see `traced`; known once there is
            `float_onnx`.
    """

    branches: list[str]

    @property
    def settings(self) -> FormatSettings:
        """Of the run."""
        ...

    @property
    def float_onnx(self) -> bytes:
        """The network as it was given, as ONNX in float32."""
        ...

    @property
    def samples(self) -> Samples:
        """Training images for quantisation."""
        ...

    def reference(self, name: str) -> Deployable:
        """The network that a format is made from: fine-tuned, where that was for formats of its precision."""
        ...

    def reference_onnx(self, name: str) -> bytes:
        """The same as ONNX in float32."""
        ...

    def say(self, text: str, /) -> None:
        """Tell people, in a few words, what is being done."""
        ...


class Format(ABC):
    """A format. Besides the first three attributes and `make`, all is optional.

    Attributes:
        name: as in `--format` and in passports.
        files: what its files are called, always all of them; the first is the model. No other format has one of these.
        runtime: what runs it, in words of `latency_tables.runtimes.names` where it is one of those.
        precision: what it computes in. `fp32` is held to `export.tolerance`; the others lose something, and are judged
            by their answers. `int8` is made from the network that was fine-tuned for 8 bits, where one was.
        made_from: the float32 format that is right where this one is; None of those that are made from PyTorch.
        extra: what `pip install 'fairnas[EXTRA]'` must have installed to make it.
        packages: distributions that make it, whose licences a passport states.
        suffixes: of model files that it can check.
        is_onnx: whether its model is an ONNX file that any device can time and ONNX Runtime runs.
    """

    name: ClassVar[str]
    files: ClassVar[tuple[str, ...]]
    runtime: ClassVar[str]
    precision: ClassVar[Precision] = "fp32"
    made_from: ClassVar[str | None] = None
    extra: ClassVar[str | None] = None
    packages: ClassVar[tuple[str, ...]] = ()
    suffixes: ClassVar[tuple[str, ...]] = ()
    is_onnx: ClassVar[bool] = False

    @property
    def keeps_float32(self) -> bool:
        """Whether it computes what PyTorch computes, up to rounding."""
        return self.precision == "fp32"

    @abstractmethod
    def make(self, given: Ingredients) -> Exported:
        """The format of a network.

        Raises:
            ExportError: it cannot be made: its library is not installed, or does not know an operator.
        """

    def answers(self, content: bytes) -> Logits | None:
        """A model file that was made earlier, ready to answer here once more; None where that is not foreseen.

        Raises:
            ExportError: its runtime is not installed, or cannot load it.
        """
        return None

    def latency_here(self, content: bytes, shape: Sequence[int], rounds: int) -> LatencyRecord | None:
        """How long the model takes on this machine; None where that is not known, or the file is ONNX, see `is_onnx`.

        Args:
            content: of the model's file.
            shape: of one image, `[1, C, H, W]`.
            rounds: how often it is run.

        Raises:
            ExportError: it cannot be run.
        """
        return None

    def memory(self, path: Path) -> MemoryRecord | None:
        """What running the model at `path` takes in this machine's memory; None where that is not known.

        Raises:
            ExportError: it cannot be run, or not be measured.
        """
        return None

    def first_diverging_layer(
        self, given: Ingredients, exported: Exported, images: Tensor, tolerance: float
    ) -> str | None:
        """The first layer of a file that runs here to answer otherwise than the network.

        Args:
            given: what it was made from.
            exported: the file.
            images: a few, preprocessed, `[N, C, H, W]`.
            tolerance: largest error of a layer that passes, see `LAYER_TOLERANCE`.

        Returns:
            Its name in the network; None where no layer differs by more, or none can be looked at.
        """
        return None

    def holds(self, content: bytes, passport: Passport, images: np.ndarray) -> dict[str, Any] | None:
        """What the model's file itself holds and answers, in the form of `model_facts`, for its passport.

        Args:
            content: of the model's file.
            passport: that it goes into.
            images: the probe, `[B, C, H, W]`.

        Returns:
            None where nothing of it can be told.
        """
        return None

    def check(
        self, path: Path, file: ExportedFile, record: FormatRecord, passport: Passport, seconds: float
    ) -> Iterator[Finding]:
        """Whether a model's file says the same as its passport.

        Args:
            path: of the file, whose bytes are the exported ones. Nobody vouches for them.
            file: as the passport has it; its path is what findings call it.
            record: of its format, which may have another name than this one where its file ends alike.
            passport: what it must agree with.
            seconds: how long running it may take.
        """
        from .checks.findings import skipped

        yield skipped(file.path, "content", f"nothing but its bytes is checked of this file of {record.format}")
