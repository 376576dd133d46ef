"""Where a LiteRT file begins to differ from the network that it was made from."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import torch
from timm.layers.activations import HardSigmoid
from torch import Tensor, nn

from ..divergence import Divergence, LayerError, _first
from .runtime import as_inputs, dequantised, load_interpreter

_TORCH_LAYERS = (nn.Conv2d, nn.Linear)
_HARD_SIGMOIDS = (nn.Hardsigmoid, HardSigmoid)
_LITERT_LAYERS = ("CONV_2D", "DEPTHWISE_CONV_2D", "FULLY_CONNECTED")


@dataclass
class _Layer:
    """A convolution or linear layer of the network.

    Attributes:
        name: of the module.
        forms: its output, and what the batch norm and the activation after it made of that: one of these is what the
            file's operator gives, which has both in it.
    """

    name: str
    forms: list[Tensor] = field(default_factory=list)


@torch.inference_mode()
def litert_divergence(network: nn.Module, content: bytes, images: Tensor, tolerance: float) -> Divergence | None:
    """The first layer whose answer in the file differs from the network's.

    Layers are matched by their order and the shape of their output; one that the converter made something else of is
    passed over.

    Args:
        network: on the CPU, in evaluation mode.
        content: of the file.
        images: preprocessed, `[B, C, H, W]`.
        tolerance: largest error that passes: root mean square of the difference, relative to that of the network's
            output.

    Returns:
        The layer, by its name in the network; None where all agree.

    Raises:
        ExportError: LiteRT is not installed, or cannot load the file.
    """
    outputs = _litert_outputs(content, images)
    errors, position = [], 0
    for layer in _torch_layers(network, images):
        match = next((n for n in range(position, len(outputs)) if _alike(layer.forms[0], outputs[n])), None)
        if match is not None:
            errors.append(LayerError(layer.name, min(_error(form, outputs[match]) for form in layer.forms)))
            position = match + 1
    return _first(errors, tolerance)


def _torch_layers(network: nn.Module, images: Tensor) -> list[_Layer]:
    """What each convolution and linear layer answered, and what followed until the next one, in the same shape."""
    layers: list[_Layer] = []

    def note(values: object) -> None:
        for value in values if isinstance(values, tuple) else (values,):
            if layers and isinstance(value, Tensor) and value.shape == layers[-1].forms[0].shape:
                layers[-1].forms.append(value.clone())  # activations may overwrite it

    def before(module: nn.Module, inputs: tuple[object, ...]) -> None:
        note(inputs)

    def after(name: str, module: nn.Module, output: object) -> None:
        if isinstance(module, _TORCH_LAYERS) and isinstance(output, Tensor):
            layers.append(_Layer(name, [output.clone()]))
        else:
            note(output)
            if isinstance(module, _HARD_SIGMOIDS) and isinstance(output, Tensor):
                note(6 * output)  # the converter leaves relu6(x + 3), the 3 in the bias, and divides by 6 later

    hooks = []
    for name, module in network.named_modules():
        hooks.append(module.register_forward_pre_hook(before))
        hooks.append(
            module.register_forward_hook(lambda module, inputs, output, name=name: after(name, module, output))
        )
    try:
        network(images)
    finally:
        for hook in hooks:
            hook.remove()
    return layers


def _litert_outputs(content: bytes, images: Tensor) -> list[Tensor]:
    """What each convolution and linear layer of a file answers, channels first, `[B, C, H, W]` or `[B, C]`."""
    interpreter = load_interpreter(content, threads=1, keep_all=True)
    (taken,) = interpreter.get_input_details()
    details: dict[int, dict[str, Any]] = {entry["index"]: entry for entry in interpreter.get_tensor_details()}
    indices = [
        int(operator["outputs"][0])
        for operator in interpreter._get_ops_details()  # there is no public way to a file's operators
        if operator["op_name"] in _LITERT_LAYERS
    ]
    answers: list[list[Tensor]] = [[] for _ in indices]
    for image in as_inputs(images, taken):
        interpreter.set_tensor(taken["index"], image)
        interpreter.invoke()
        for index, found in zip(indices, answers, strict=True):
            found.append(torch.from_numpy(dequantised(interpreter.get_tensor(index), details[index])))
    joined = [torch.cat(found) for found in answers]
    return [values.permute(0, 3, 1, 2) if values.ndim == 4 else values for values in joined]


def _alike(layer: Tensor, output: Tensor) -> bool:
    """Whether shapes agree, `[B, C, 1, 1]` being `[B, C]`."""
    return layer.shape[:2] == output.shape[:2] and layer.numel() == output.numel()


def _error(expected: Tensor, answered: Tensor) -> float:
    size = expected.norm().clamp_min(torch.finfo(torch.float32).tiny)
    return float((expected.flatten() - answered.flatten()).norm() / size)
