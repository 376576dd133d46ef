"""How each format of a network is made: what it is made from, and with which settings."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import cached_property
from typing import TYPE_CHECKING, Literal, cast

from ...common.places import cache_root
from ...exporters import export_onnx, onnx_logits
from ...exporters.deployable import Deployable, Exported, Samples
from ...exporters.judgement import accuracy
from ...latency_tables import Target
from ...latency_tables.targets import FormatName
from ..config import Config
from ..runs.run import Workspace
from .subject import EVAL_BATCH, Subject

if TYPE_CHECKING:
    from ...exporters.tensorrt.settings import TensorRtSettings


INT8: tuple[FormatName, ...] = ("onnx-int8", "tensorrt-int8", "litert-int8")
TUNING = ".tuning"  # hidden: it is none of the files that are handed over


class FormatMaker:
    """Makes the formats of one network; what several of them need is made once.

    Args:
        subject: the network.
        config: the run's configuration.
        target: what the files are for.
        workspace: where an interrupted fine-tuning goes on.
        say: is told in a few words what is being done.
    """

    def __init__(
        self, subject: Subject, config: Config, target: Target, workspace: Workspace, say: Callable[[str], None]
    ) -> None:
        self.subject, self.config, self.settings = subject, config, config.export
        self.target, self.workspace, self.say = target, workspace, say
        self._tuned: Deployable | None = None
        self.branches: list[str] = []  # of the network's code, see `traced`

    def make(self, name: FormatName) -> Exported:
        """One format.

        Raises:
            ExportError: it cannot be made: its library is not installed, or does not know an operator.
        """
        kind, _, precision = name.partition("-")
        if kind == "onnx":
            return self._onnx(precision)
        if kind == "litert":
            return self._litert(precision)
        return self._tensorrt(precision)

    def reference(self, name: FormatName) -> Deployable:
        """The network that a format is made from: tuned, where that was for this format."""
        return self._tuned if name in INT8 and self._tuned is not None else self.subject.deployable

    def reference_onnx(self, name: FormatName) -> bytes:
        """The same as float32 ONNX."""
        model = self.reference(name)
        return self.float_onnx if model is self.subject.deployable else self._exported(model)

    def float_form(self, name: FormatName) -> Exported | None:
        """The float32 format that another one is made from; None of those that are it."""
        kind, _, precision = name.partition("-")
        if kind == "litert":
            return self._float_litert if precision else None
        return (
            Exported("onnx", {"model.onnx": self.float_onnx}, onnx_logits(self.float_onnx)) if name != "onnx" else None
        )

    def tune(self) -> bool:
        """Fine-tune the network for 8 bits, where the configuration asks for it; formats made after this one use it."""
        if not self.settings.tune.epochs or self._tuned is not None or not self.subject.knows_classes:
            return False
        from .quantization_aware import tune_for_int8

        model = self.subject.deployable
        self.say(f"fine-tuning for 8 bits, {self.settings.tune.epochs} epochs")
        network = tune_for_int8(
            model.network,
            self.subject.images,
            self.settings.tune,
            replace(self.workspace, folder=self.workspace.folder / TUNING),
            seed=self.config.seed,
            resolution=self.subject.resolution,
        )
        self._tuned = Deployable(model.name, network, model.preprocessing, model.classes)
        return True

    def selection_top1(self, exported: Exported) -> float:
        """Top-1 of a format on the images that choices are made by; 0 where it cannot run here."""
        samples = self._samples
        parts = zip(samples.selection.split(EVAL_BATCH), samples.labels.split(EVAL_BATCH), strict=True)
        return accuracy(exported.run, parts) if exported.run else 0.0

    def _onnx(self, precision: str) -> Exported:
        if precision == "int8":
            return self._quantised(self.settings.int8.activations)
        if precision == "fp16":
            from ...exporters.onnx.fp16 import to_fp16

            return to_fp16(self.float_onnx)
        content = self.float_onnx
        facts = {"branches_on_data": self.branches} if self.branches else {}
        return Exported("onnx", {"model.onnx": content}, onnx_logits(content), facts=facts)

    def _quantised(self, activations: Literal["unsigned", "signed"]) -> Exported:
        from ...exporters.onnx.int8 import Int8Settings, quantise_onnx

        given = self.settings.int8
        settings = Int8Settings(
            activations, tuple(given.methods), max_drop=given.max_drop, max_float_layers=given.max_float_layers
        )
        return quantise_onnx(self.reference_onnx("onnx-int8"), self._samples, settings, self.say)

    def _tensorrt(self, precision: str) -> Exported:
        from ...exporters.tensorrt.build import build_engine

        content = self.float_onnx
        if precision == "int8":
            content = self._quantised("signed").model  # TensorRT reads no other
        elif precision == "fp16":
            content = self._onnx("fp16").model
        self.say("building the engine")
        known = cast(Literal["fp32", "fp16", "int8"], precision or "fp32")
        return build_engine(content, known, self._tensorrt_settings())

    def _litert(self, precision: str) -> Exported:
        from ...exporters.litert.export import LiteRtSettings, to_litert_int8

        if precision != "int8":
            return self._float_litert
        self.say("converting")
        settings = LiteRtSettings(layout=self.settings.litert.layout)
        return to_litert_int8(self.reference("litert-int8"), self._samples, settings)

    @cached_property
    def _float_litert(self) -> Exported:
        from ...exporters.litert.export import LiteRtSettings, to_litert

        self.say("converting")
        return to_litert(self.subject.deployable, LiteRtSettings(layout=self.settings.litert.layout))

    def _tensorrt_settings(self) -> TensorRtSettings:
        from ...exporters.tensorrt.settings import TensorRtSettings

        given = self.settings.tensorrt
        cache = cache_root() / "tensorrt"
        return TensorRtSettings(given.library, tuple(given.compute_capabilities), given.batch, cache)

    @cached_property
    def float_onnx(self) -> bytes:
        """The network as ONNX in float32."""
        return self._exported(self.subject.deployable)

    def _exported(self, model: Deployable) -> bytes:
        return export_onnx(
            model.network, model.preprocessing, model.classes, self.settings.opset, model.name, self.branches
        )

    @cached_property
    def _samples(self) -> Samples:
        self.say("reading training images")
        return self.subject.samples(self.settings.int8.calibration_images, self.settings.int8.selection_images)
