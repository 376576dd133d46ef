"""ONNX in 8 bits (QDQ), calibrated on real images; how, and what stays in float, is chosen by accuracy."""

from __future__ import annotations

import tempfile
from collections import Counter
from collections.abc import Callable, Collection
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import torch
from torch import Tensor

from ...latency_tables.runtimes.quantize import Range, quantized_from
from ..deployable import Exported, Samples
from ..errors import ExportError
from ..parity import answers, onnx_logits
from .calibration import Distribution, distributions
from .float_layers import float_front, keep_in_float
from .gates import absorb_gates, gate_ranges, spell_out_hard_swish
from .graph import WEIGHTED, float_tensors, inner_tensors, loaded, producers, quiet_session
from .prepare import layers, prepared, read_only_by
from .sensitivity import culprits
from .settings import Int8Settings, Method

FILE = "model.int8.onnx"

# With weights; sums and what follows them; products and what their factors come from; what only moves numbers.
_OPERATORS = (
    *("Conv", "Gemm", "MatMul"),
    *("Add", "Relu", "Clip", "Concat", "MaxPool", "AveragePool", "GlobalAveragePool"),
    *("Mul", "Sigmoid", "HardSigmoid"),
    *("Flatten", "Reshape", "Squeeze", "Unsqueeze", "Transpose"),
)
# TensorRT fuses the rest with these by itself, and best where nothing is quantised in between.
_OPERATORS_SIGNED = ("Conv", "Gemm", "MatMul", "Add", "MaxPool")
_FUSED = ("Relu", "Clip")
_MOST_RANKED = 32  # images on which layers are ranked
_PERCENTILE = 99.99  # share of values within the range of the method `percentile`, in percent


@dataclass(frozen=True)
class _Fit:
    """How well a quantised model answers, on the images that choices are made by."""

    top1: float
    mean_logit_difference: float

    @property
    def rank(self) -> tuple[float, float]:
        """The best has the smallest."""
        return (-self.top1, self.mean_logit_difference)


def quantise_onnx(
    float_model: bytes,
    samples: Samples,
    settings: Int8Settings,
    progress: Callable[[str], None],
    *,
    with_float_front: bool = True,
) -> Exported:
    """Quantise a network: weights signed per channel, activations per tensor; input and logits stay float32.

    Ranges come from `samples.calibration`. The method of calibration that answers best on `samples.selection` is
    taken; between equals the one whose logits are closest to the float model's. If it loses more than
    `settings.max_drop`, layers return to float one by one, those first that 8 bits hurt most.

    Args:
        float_model: ONNX, float32, with an open batch, from images `[B, C, H, W]` to logits `[B, classes]`.
        samples: real images.
        settings: see there.
        progress: is told in a few words what is being done.
        with_float_front: whether the first layers stay in float where 8 bits make them slower; signed ones never do.

    Returns:
        The format `onnx-int8`. What was tried and what stayed in float is in its facts.

    Raises:
        ExportError: the model cannot be read or run on these images, has several inputs or outputs, or there are no
            images, or no layer could be quantised.
    """
    if not len(samples.calibration) or not len(samples.selection):
        raise ExportError("quantising needs images: some to take ranges from, some to choose by")
    original = loaded(float_model)
    work = _Quantiser(original, samples, settings, progress, with_float_front=with_float_front)
    fits: dict[Method, _Fit] = {method: work.fit(method) for method in settings.methods}
    method = min(fits, key=lambda each: fits[each].rank)
    fit, sensitive = fits[method], {}
    if work.drop(fit) > settings.max_drop and settings.max_float_layers:
        fit, sensitive = work.return_layers(method, fit)
    progress("writing")
    content = work.content(method, sensitive)
    _require_8_bits(content)
    facts = work.facts(method, fits, fit, sensitive) | {"convolutions": _convolutions(content)}
    return Exported("onnx-int8", {FILE: content}, onnx_logits(content), facts=facts)


class _Quantiser:
    """Quantises one network in several ways."""

    def __init__(
        self,
        original: onnx.ModelProto,
        samples: Samples,
        settings: Int8Settings,
        progress: Callable[[str], None],
        *,
        with_float_front: bool = True,
    ) -> None:
        self.samples, self.settings, self.progress = samples, settings, progress
        self.metadata = {entry.key: entry.value for entry in original.metadata_props}
        self.model = prepared(original)
        self.front = float_front(self.model) if with_float_front and not settings.signed else []
        if not settings.signed:
            spell_out_hard_swish(self.model, exclude=self.front)
        self.layers = layers(self.model)
        self.operators = _OPERATORS_SIGNED if settings.signed else _OPERATORS
        ends = self.model.graph.input, self.model.graph.output
        if [len(end) for end in ends] != [1, 1]:
            raise ExportError("only a network with one input and one output can be quantised")
        self.input, self.output = (end[0].name for end in ends)
        self.reference = self._logits(self.model)
        self.reference_fit = self._fit(self.reference)
        self._distributions = self._calibrate()

    def _calibrate(self) -> dict[str, Distribution]:
        """Of all that may be quantised: what enters or leaves an operator, after a ReLU that belongs to it."""
        self.progress(f"calibrating on {len(self.samples.calibration)} images")
        made = producers(self.model)
        fused = read_only_by(self.model, _FUSED)
        numbers = float_tensors(self.model)
        names = {
            name
            for node in self.model.graph.node
            if node.op_type in self.operators and node.name not in self.front
            for name in (*node.input, *node.output)
            if (name in made or name == self.input) and name in numbers
        }
        kept = sorted({fused.get(name, name) for name in names})
        histograms = set(self.settings.methods) != {"minmax"}
        found = distributions(self.model, kept, self.samples.calibration, histograms)
        return found | {name: found[fused[name]] for name in names if name in fused}

    def _ranges(self, method: Method) -> dict[str, Range]:
        ranges = {name: distribution.range(method, _PERCENTILE) for name, distribution in self._distributions.items()}
        return ranges if self.settings.signed else ranges | gate_ranges(self.model, ranges)

    def quantise(self, method: Method, exclude: Collection[str] = ()) -> onnx.ModelProto:
        """Quantise, but for the front and nodes of some names; hard sigmoids still stand."""
        return quantized_from(
            [{self.input: self.samples.calibration[:1].numpy()}],
            self.model,
            ranges=self._ranges(method),
            operators=self.operators,
            exclude=[*self.front, *exclude],
            float_outputs=("Gemm", "MatMul"),
            signed=self.settings.signed,
        )

    def finished(self, model: onnx.ModelProto, float_layers: Collection[str] = ()) -> onnx.ModelProto:
        """The quantised model as it is handed over."""
        if not self.settings.signed:
            absorb_gates(model)
            keep_in_float(model, float_layers)
        onnx.helper.set_model_props(model, self.metadata)
        return model

    def model_of(self, method: Method, float_layers: Collection[str]) -> onnx.ModelProto:
        """The model that a method gives, with some layers in float."""
        nodes = [node for layer, inner in self.layers.items() if layer in float_layers for node in inner]
        return self.finished(self.quantise(method, nodes), float_layers)

    def content(self, method: Method, float_layers: Collection[str]) -> bytes:
        """The file."""
        model = self.model_of(method, float_layers)
        onnx.checker.check_model(model, full_check=True)
        return model.SerializeToString(deterministic=True)

    def fit(self, method: Method, float_layers: Collection[str] = ()) -> _Fit:
        """How well the model answers that a method gives, with some layers in float."""
        self.progress(f"quantising ({method}{f', {len(float_layers)} layers in float' if float_layers else ''})")
        return self._fit(self._logits(self.model_of(method, float_layers)))

    def drop(self, fit: _Fit) -> float:
        """Loss of top-1, within -1..1."""
        return self.reference_fit.top1 - fit.top1

    def return_layers(self, method: Method, fit: _Fit) -> tuple[_Fit, dict[str, str]]:
        """Let layers return to float while the model loses too much, those first that 8 bits hurt most.

        Returns:
            How well the model answers then, and why, by layer; both of the best that was seen.
        """
        suspects = culprits(
            self.model,
            self.quantise(method),
            {layer: nodes for layer, nodes in self.layers.items() if layer not in self.front},
            self.samples.selection[:_MOST_RANKED],
            self.progress,
        )
        reasons: dict[str, str] = {}
        best = fit, reasons
        for culprit in suspects:
            added = culprit.layers - set(reasons) - set(self.front)
            if not added or len(reasons) + len(added) > self.settings.max_float_layers:
                continue
            why = "its weights" if culprit.part == "weights" else f"what {culprit.layer} gives,"
            reasons = reasons | dict.fromkeys(
                sorted(added), f"sensitive: {why} in 8 bits alone moved the logits by {culprit.moved:.3g}"
            )
            found = self.fit(method, reasons)
            if found.rank < best[0].rank:
                best = found, reasons
            if self.drop(found) <= self.settings.max_drop:
                break
        return best

    def facts(self, method: Method, fits: dict[Method, _Fit], fit: _Fit, sensitive: dict[str, str]) -> dict[str, Any]:
        """What a reviewer asks."""
        reasons = {layer: "in 8 bits slower than in float" for layer in self.layers if layer in self.front} | sensitive
        return {
            "activations": "int8, symmetric, per tensor" if self.settings.signed else "uint8, per tensor",
            "weights": "int8, symmetric, per channel",
            "calibration": {
                "method": method,
                "images": len(self.samples.calibration),
                "tried": {each: asdict(found) for each, found in fits.items()},
            },
            "selection": {
                "images": len(self.samples.selection),
                "float_top1": self.reference_fit.top1,
                "int8_top1": fit.top1,
                "drop": self.drop(fit),
                "max_drop": self.settings.max_drop,
            },
            "float_layers": [{"name": layer, "why": why} for layer, why in reasons.items()],
        }

    def _logits(self, model: onnx.ModelProto) -> Tensor:
        batches = inner_tensors(model, [self.output], self.samples.selection)
        return torch.from_numpy(np.concatenate([values[self.output] for values in batches]))

    def _fit(self, logits: Tensor) -> _Fit:
        right = answers(logits) == self.samples.labels
        return _Fit(float(right.float().mean()), float((logits - self.reference).abs().mean()))


def _require_8_bits(content: bytes) -> None:
    """Refuse a file that is called int8 and has no layer whose weights are in 8 bits."""
    model = loaded(content)
    made, stored = producers(model), {tensor.name for tensor in model.graph.initializer}
    sources = [made.get(name) for node in model.graph.node if node.op_type in WEIGHTED for name in node.input[:2]]
    if not any(each and each.op_type == "DequantizeLinear" and each.input[0] in stored for each in sources):
        raise ExportError("nothing of it is in 8 bits: no convolution or linear layer could be quantised")


def _convolutions(content: bytes) -> dict[str, float]:
    """How many convolutions ONNX Runtime runs on this machine, and how many of them in 8 bits."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "optimized.onnx"
        quiet_session(content, str(path))
        kinds = Counter(node.op_type for node in onnx.load(path).graph.node)
    in_int8 = kinds["QLinearConv"]
    total = in_int8 + kinds["Conv"] + kinds["FusedConv"]
    return {"all": total, "int8": in_int8, "share": in_int8 / max(1, total)}
