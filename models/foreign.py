"""Networks that we did not make: timm's, and a user's own `module:attribute`."""

from __future__ import annotations

import copy
import importlib
import importlib.util
import inspect
import sys
import types
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import timm
import torch
from torch import nn
from torch.nn.parameter import is_lazy

from .architecture import Architecture
from .network_names import AnyNetwork, TimmModel, UserModel
from .spaces.mobile.networks import build_network, initialise_classifier


def build_any_network(source: AnyNetwork, *, width: float = 1.0, **kwargs: Any) -> nn.Module:
    """Build a network with random weights, or as the user's module gives it.

    Args:
        source: what to build.
        width: multiplier of every channel count; only architectures have one.
        **kwargs: what timm's models take (`num_classes`, `drop_rate`, `drop_path_rate`); timm's own are not given rates
            of 0, which some do not take; of a user's callable only those that its signature names.

    Raises:
        ValueError: timm's model takes no such argument, or the user's attribute cannot be imported, or is no network.
    """
    if isinstance(source, Architecture):
        return build_network(source, width=width, **kwargs)
    if isinstance(source, TimmModel):
        return _build_timms(source, kwargs)
    return _build_users(source, kwargs)


def code_of(source: AnyNetwork) -> Path | None:
    """The file that a user's network is defined in; None for others, and where it cannot be found."""
    if not isinstance(source, UserModel):
        return None
    _import_from_here()
    try:
        found = importlib.util.find_spec(source.module)
    except (Exception, SystemExit):  # a package is imported to find what is in it
        return None  # which building it explains
    return Path(found.origin) if found and found.origin and Path(found.origin).is_file() else None


def _build_timms(source: TimmModel, kwargs: dict[str, Any]) -> nn.Module:
    given: dict[str, Any] = {key: value for key, value in kwargs.items() if value or not key.endswith("_rate")}
    try:
        network: Any = timm.create_model(source.name, pretrained=False, **given)
    except TypeError as error:
        raise ValueError(f"cannot make a network of {source}: {' '.join(str(error).split())}") from error
    classifier = None if kwargs.get("features_only") else network.get_classifier()
    if isinstance(classifier, nn.Linear):  # others have several, or none
        initialise_classifier(classifier)
    return network


def _import_from_here() -> None:
    """Import from the working folder, as `python -m` does, which a console script does not."""
    here = str(Path.cwd())
    if here not in sys.path:
        sys.path.insert(0, here)


def _build_users(source: UserModel, kwargs: dict[str, Any]) -> nn.Module:
    _import_from_here()
    try:
        made = importlib.import_module(source.module)
        for part in source.attribute.split("."):
            made = getattr(made, part)
        if isinstance(made, types.BuiltinFunctionType):  # `os.abort` by another name
            raise TypeError("a function of Python's own makes no network")
        # A module's own network stays as it is: it may be a teacher, too.
        made = copy.deepcopy(made) if isinstance(made, nn.Module) else _called(made, kwargs)
    except (Exception, SystemExit) as error:  # the user's code may raise anything
        reason = " ".join(f"{type(error).__name__}: {error}".split())
        raise ValueError(f"cannot make a network of {source}: {reason}") from error
    if not isinstance(made, nn.Module):
        raise ValueError(f"{source} is a {type(made).__name__}, not a torch.nn.Module")
    return made


def _called(make: Any, kwargs: dict[str, Any]) -> Any:
    """What a callable makes, given those arguments that it takes.

    Many pass on what they don't name, as torchvision's do: these are given `num_classes`, if they take it.
    """
    try:
        known = inspect.signature(make).parameters
    except ValueError:  # of some that are written in C
        return make()
    given = {key: value for key, value in kwargs.items() if key in known}
    passes_on = any(parameter.kind is inspect.Parameter.VAR_KEYWORD for parameter in known.values())
    if passes_on and "num_classes" in kwargs and "num_classes" not in known:
        try:
            return make(**given, num_classes=kwargs["num_classes"])
        except TypeError:
            pass
    return make(**given)


def materialise(network: nn.Module, resolution: int, channels: int = 3) -> None:
    """Give lazy layers their sizes, which they take from the first images that they see.

    Raises:
        ValueError: the network cannot take images of this size.
    """
    if any(is_lazy(tensor) for tensor in (*network.parameters(), *network.buffers())):
        classes_of(network, resolution, channels)


def classifier_of(network: nn.Module) -> str | None:
    """The layer that gives the logits, by name: as timm says, else the last linear one, else the last convolution."""
    layers = {name: module for name, module in network.named_modules() if isinstance(module, nn.Linear | nn.Conv2d)}
    stated = getattr(network, "pretrained_cfg", None)
    stated = stated.get("classifier") if isinstance(stated, dict) else None
    if isinstance(stated, str) and stated in layers:
        return stated
    linear = [name for name, module in layers.items() if isinstance(module, nn.Linear)]
    return next(reversed(linear or list(layers)), None)


def classes_of(network: nn.Module, resolution: int, channels: int = 3) -> int:
    """How many logits a network gives.

    Raises:
        ValueError: it does not map images `[B, C, H, W]` to logits `[B, classes]`.
    """
    network.eval()
    try:
        with torch.no_grad():  # what a network keeps of inference mode could not be trained with
            logits = network(torch.zeros(1, channels, resolution, resolution))
    except Exception as error:  # whatever the user's code raises
        text = " ".join(str(error).split())
        raise ValueError(f"the network cannot take images of {resolution} px: {text}") from error
    if not isinstance(logits, torch.Tensor) or logits.ndim != 2:
        raise ValueError("the network does not answer with logits [batch, classes], as classifiers do")
    return logits.shape[1]


def main_output(answer: Any) -> torch.Tensor:
    """The logits among what a network answers in training: the attribute or key `logits`, else the first tensor.

    Networks with a second head for training, as GoogLeNet, answer with several.

    Raises:
        ValueError: there is none.
    """
    if isinstance(answer, torch.Tensor):
        return answer
    named = answer.get("logits") if isinstance(answer, dict) else getattr(answer, "logits", None)
    several = answer.values() if isinstance(answer, dict) else answer if isinstance(answer, tuple | list) else ()
    for each in (named, *several):
        if isinstance(each, torch.Tensor):
            return each
    raise ValueError(f"a {type(answer).__name__} holds no logits: expected a tensor, or several of which one is first")


def check_classifier(network: nn.Module, name: str, resolutions: Iterable[int], num_classes: int) -> None:
    """Refuse a network that does not classify images of these sizes, as one that is not ours may.

    Raises:
        ValueError: it cannot take them, or does not give `num_classes` logits.
    """
    for resolution in resolutions:
        try:
            count = classes_of(network, resolution)
        except ValueError as error:
            raise ValueError(f"{name}: {error}") from error
        if count != num_classes:
            raise ValueError(f"{name} gives {count} logits, and the images have {num_classes} classes")
