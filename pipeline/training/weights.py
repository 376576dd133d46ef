"""Weights from files, put into networks with one-line answers where they do not fit."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from safetensors import SafetensorError, safe_open
from safetensors.torch import load_file, save
from torch import Tensor, nn

from ...common.errors import UnreadableFile
from ...common.reading import check_regular_file, read_object
from ...exporters.errors import in_one_line
from ...models import classifier_of
from ..errors import UserError


def load_weights(network: nn.Module, path: str | Path, *, new_classifier: bool = False) -> list[str]:
    """Load a `.safetensors` file into a network.

    Args:
        network: it is changed.
        path: the file; no other format is read, since pickles run whatever they hold.
        new_classifier: leave the network's own classifier, see `classifier_of`, where the file has it for another
            number of classes, or not at all.

    Returns:
        Names of the tensors that were left as they were.

    Raises:
        UserError: no such file, or not the weights of such a network.
    """
    check_weights_file(Path(path))
    try:
        weights = load_file(path)
    except (OSError, SafetensorError) as error:
        raise UserError(f"cannot read weights from {path}: {' '.join(str(error).split())}") from None
    own = network.state_dict()
    _fill_in(weights, own)
    left = _other_classes(network, weights, own) if new_classifier else []
    for name in left:
        weights[name] = own[name]
    missing, unexpected = sorted(own.keys() - weights.keys()), sorted(weights.keys() - own.keys())
    shapes = [name for name in own.keys() & weights.keys() if own[name].shape != weights[name].shape]
    if missing or unexpected or shapes:
        first = next(
            text
            for names, text in (
                (missing, f"{len(missing)} tensors are missing, first {missing[:1]}"),
                (unexpected, f"{len(unexpected)} are of no layer of it, first {unexpected[:1]}"),
                (shapes, f"{len(shapes)} have another shape, first {sorted(shapes)[:1]}"),
            )
            if names
        )
        raise UserError(f"{path} does not hold the weights of this network: {first}")
    network.load_state_dict(weights)
    return left


def check_weights_file(path: Path, setting: str = "") -> None:
    """Refuse what holds no weights before anything is done with it: a FIFO would be waited for.

    Args:
        path: of a `.safetensors` file.
        setting: what named it, for the error, such as `retrain.weights: `.

    Raises:
        UserError: there is no such file, or its form is another one.
    """
    try:
        check_regular_file(path)
        with safe_open(path, "pt"):
            pass
    except UnreadableFile as error:
        raise UserError(f"{setting}cannot read weights: {error}; give the path of a .safetensors file") from None
    except (OSError, SafetensorError) as error:
        reason = " ".join(str(error).split())
        raise UserError(f"{setting}cannot read weights from {path}: it is no .safetensors file ({reason})") from None


def stated_resolution(weights: Path) -> int | None:
    """Height and width of the images that weights were trained with, where that is said.

    Retraining says it in `result.json` beside the weights that it left, and anybody may in the file's own metadata, as
    `resolution`.
    """
    said: object = None
    beside = weights.with_name("result.json")
    if weights.name == "weights.safetensors" and beside.is_file():
        said = read_object(beside).get("resolution")
    if said is None:
        with safe_open(weights, "pt") as file:
            text = (file.metadata() or {}).get("resolution", "")
        said = int(text) if text.isdecimal() and len(text) < 6 else None
    return said if isinstance(said, int) and not isinstance(said, bool) else None


def _other_classes(network: nn.Module, weights: dict[str, Tensor], own: dict[str, Tensor]) -> list[str]:
    """Tensors of the classifier, where the file has it for another number of classes, or not at all."""
    classifier = classifier_of(network)
    names = [f"{classifier}.{part}" for part in ("weight", "bias")] if classifier else []
    names = [name for name in names if name in own]
    shapes = [(own[name].shape, weights[name].shape) for name in names if name in weights]
    other = any(ours[0] != theirs[0] and ours[1:] == theirs[1:] for ours, theirs in shapes)
    return names if other or not shapes else []


def _fill_in(weights: dict[str, Tensor], own: dict[str, Tensor]) -> None:
    """What a file need not hold: other names of a tensor that it holds, and counts of batches, which decide nothing."""
    aliases = _aliases(own)
    for name in own.keys() - weights.keys():
        kept = aliases.get(name, name)
        same = next((each for each in own if aliases.get(each, each) == kept and each in weights), None)
        if same is not None:
            weights[name] = weights[same]
        elif name.endswith("num_batches_tracked"):
            weights[name] = own[name]


def _aliases(tensors: Mapping[str, Tensor]) -> dict[str, str]:
    """Names of tensors that lie where an earlier one does, and that one's name."""
    seen: dict[Any, str] = {}
    found = {}
    for name, tensor in tensors.items():
        if tensor.numel():
            place = (tensor.device, tensor.data_ptr(), tuple(tensor.shape), tensor.stride(), tensor.dtype)
            first = seen.setdefault(place, name)
            if first != name:
                found[name] = first
    return found


def weights_content(network: nn.Module) -> bytes:
    """A network's weights as `.safetensors`. A tensor with several names is there once; `load_weights` knows it again.

    Raises:
        UserError: they cannot be written so.
    """
    state = network.state_dict()
    try:
        aliases = _aliases(state)
        kept = {name: tensor.detach().cpu().contiguous() for name, tensor in state.items() if name not in aliases}
        storages = Counter(tensor.untyped_storage().data_ptr() for tensor in kept.values() if tensor.numel())
        parts = {
            name: tensor.clone() if tensor.numel() and storages[tensor.untyped_storage().data_ptr()] > 1 else tensor
            for name, tensor in kept.items()
        }
        for name in parts:
            name.encode()  # half a character, as in the name of a file that is not UTF-8, raises here
        return save(parts)
    except Exception as error:  # of whatever else a user's state dict may hold
        raise UserError(f"its weights cannot be saved as .safetensors: {in_one_line(error)}") from None


def given_weights(template: str | None, names: Sequence[str]) -> dict[str, Path]:
    """Files of those of the networks that have one.

    Args:
        template: their path, with `{name}` in the place of a network's name; None for no files.
        names: of the networks.

    Raises:
        UserError: none of them has a file there.
    """
    if template is None:
        return {}
    paths = {name: Path(template.replace("{name}", name)) for name in names}
    found = {name: path for name, path in paths.items() if path.is_file()}
    if not found:
        raise UserError(f"--weights {template}: there is no such file for any of {', '.join(names)}")
    return found
