"""Makes the formats of a network from what they share; how each is made is its own, see `Format`."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import cached_property

from torch import Tensor

from ...exporters import export_onnx
from ...exporters.deployable import Deployable, Exported, Samples
from ...exporters.format import LAYER_TOLERANCE
from ...exporters.formats import get_format
from ...exporters.judgement import accuracy
from ...latency_tables import Target
from ..config import Config
from ..runs.run import Workspace
from .subject import EVAL_BATCH, Subject

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
        self._float_forms: dict[str, Exported] = {}
        self.branches: list[str] = []  # of the network's code, see `traced`

    def make(self, name: str) -> Exported:
        """One format. Those in float32 that others are made from, and judged by, are made once.

        Raises:
            ExportError: it cannot be made: its library is not installed, or does not know an operator.
        """
        form = get_format(name)
        if form.made_from is not None or not form.keeps_float32:
            return form.make(self)
        if name not in self._float_forms:
            self._float_forms[name] = form.make(self)
        return self._float_forms[name]

    def reference(self, name: str) -> Deployable:
        """The network that a format is made from: tuned, where that was for this format."""
        tuned = self._tuned if get_format(name).precision == "int8" else None
        return tuned or self.subject.deployable

    def reference_onnx(self, name: str) -> bytes:
        """The same as float32 ONNX."""
        model = self.reference(name)
        return self.float_onnx if model is self.subject.deployable else self._exported(model)

    def first_diverging_layer(self, exported: Exported, images: Tensor) -> str | None:
        """The first layer of a format to answer otherwise than the network that it was made from.

        Args:
            exported: the format.
            images: a few, preprocessed, `[N, C, H, W]`.

        Returns:
            Its name; None where no layer differs by more than the precision explains, or none can be looked at.
        """
        form = get_format(exported.format)
        if exported.run is None:
            return None
        return form.first_diverging_layer(self, exported, images, LAYER_TOLERANCE[form.precision])

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
        samples = self.samples
        parts = zip(samples.selection.split(EVAL_BATCH), samples.labels.split(EVAL_BATCH), strict=True)
        return accuracy(exported.run, parts) if exported.run else 0.0

    @property
    def float_onnx(self) -> bytes:
        """The network as ONNX in float32."""
        return self._float_onnx

    @property
    def samples(self) -> Samples:
        """Training images for quantisation, and to choose by."""
        return self._samples

    @cached_property
    def _float_onnx(self) -> bytes:
        return self._exported(self.subject.deployable)

    def _exported(self, model: Deployable) -> bytes:
        return export_onnx(
            model.network, model.preprocessing, model.classes, self.settings.opset, model.name, self.branches
        )

    @cached_property
    def _samples(self) -> Samples:
        self.say("reading training images")
        return self.subject.samples(self.settings.int8.calibration_images, self.settings.int8.selection_images)
