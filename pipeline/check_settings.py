"""What is checked of settings before anything is trained, as far as it takes torch, timm or a file to know.

What timm and the exporters make of a setting is found out by letting them make it.
"""

from __future__ import annotations

import math
import re
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from ..common.places import expanded
from .config import Config, read_config
from .data.settings import Augment
from .errors import UserError
from .explaining import nearest
from .retrain.settings import RetrainConfig

_TRIED_STEPS = 2  # some optimisers do in the second step what they cannot do in the first
_TRIED_IMAGES = 20
_LARGEST_OF_A_POLICY = 1000  # timm's own stop at 10; mstd is infinite from 100 on
_MOST_OPERATIONS = 16


def load_config(preset: str, overrides: Sequence[str] = (), **top_level: Any) -> Config:
    """Resolve a preset with overrides, and check all that can be checked without the images.

    Args: see `read_config`.

    Raises:
        UserError: as `read_config`, or a setting would fail later.
    """
    config = read_config(preset, overrides, **top_level)
    check_settings(config)
    return config


def check_settings(config: Config) -> None:
    """Refuse settings that would fail later, after hours.

    Raises:
        UserError: the first of them.
    """
    _check_optimiser(config.retrain)
    for place in ("supernet", "retrain", "export.tune"):
        section: Any = config
        for part in place.split("."):
            section = getattr(section, part)
        _check_augment(f"{place}.augment", section.augment)
    _check_opset(config.export.opset)
    _check_files(config)
    if config.search.storage is not None:
        from .search.shared import database_url

        database_url(config.search.storage.get_secret_value())


def _check_optimiser(settings: RetrainConfig) -> None:
    from timm.optim import list_optimizers

    known = [str(name) for name in list_optimizers()]
    if settings.opt not in known:
        raise UserError(f"retrain.opt: timm has no such optimiser{nearest(settings.opt, known)} (got '{settings.opt}')")
    with _undisturbed():
        optimizer = _stepped(settings)
        try:
            scheduler = settings.make_scheduler(optimizer, steps_per_epoch=1)
            rates = [_rate(scheduler, optimizer, epoch) for epoch in _some_epochs(settings.epochs)]
        except Exception as error:  # whatever timm's schedules raise
            raise UserError(
                f"retrain: sched_args do not fit timm's {settings.sched} schedule: {_said(error)}"
            ) from None
    if not all(math.isfinite(rate) and 0 <= rate <= 1e6 for rate in rates):
        raise UserError(f"retrain: with these sched_args timm's {settings.sched} schedule leaves the finite rates")


def _stepped(settings: RetrainConfig) -> Any:
    """The optimiser after steps on a small network, as training makes them: without closures or second derivatives."""
    import torch
    from torch import nn

    network = nn.Sequential(nn.Conv2d(3, 4, 3, bias=False), nn.BatchNorm2d(4), nn.Flatten(), nn.Linear(16, 2))
    try:
        optimizer = settings.make_optimizer(network)
    except Exception as error:  # whatever timm's optimisers raise
        raise UserError(f"retrain: opt_args do not fit timm's {settings.opt}: {_said(error)}") from None
    try:
        for _ in range(_TRIED_STEPS):
            network.zero_grad()
            network(torch.randn(4, 3, 4, 4)).square().mean().backward()
            optimizer.step()
    except Exception as error:
        raise UserError(
            f"retrain.opt: {settings.opt} cannot train here, its step fails after a plain backward pass: {_said(error)}"
        ) from None
    return optimizer


def _rate(scheduler: Any, optimizer: Any, update: int) -> float:
    scheduler.step_update(update)
    return float(optimizer.param_groups[0]["lr"])


def _some_epochs(epochs: int) -> list[int]:
    return sorted({round(share * epochs / 16) for share in range(17)})


def _check_augment(place: str, settings: Augment) -> None:
    """Make the policy and let it vary images: some wrong ones fail only then."""
    if settings.auto is None:
        return
    from PIL import Image

    from .data.augment import auto_policy

    for part in settings.auto.split("-")[1:]:  # timm overlooks those without a number
        if not re.fullmatch(r"[a-z]+\d+(\.\d+)?|t\w+", part):
            raise UserError(
                f"{place}.auto: '{part}' in '{settings.auto}' is no part of a policy: expected such as m9 or n2"
            )
    numbers = [float(number) for number in re.findall(r"\d+(?:\.\d+)?", settings.auto)]
    operations = [int(number) for number in re.findall(r"-[nwd](\d+)", settings.auto)]
    if max(numbers, default=0) > _LARGEST_OF_A_POLICY or max(operations, default=0) > _MOST_OPERATIONS:
        raise UserError(f"{place}.auto: a number is too large in '{settings.auto}'")
    with _undisturbed():
        try:
            policy = auto_policy(settings.auto, resolution=32, mean=(0.5, 0.5, 0.5))
            for shade in range(_TRIED_IMAGES):
                policy(Image.new("RGB", (32, 32), (8 * shade, 128, 64)))
        except UserError as error:
            raise UserError(f"{place}.auto: {error}") from None
        except Exception as error:  # whatever the operations raise
            raise UserError(f"{place}.auto: '{settings.auto}' cannot vary an image: {_said(error)}") from None


def _check_opset(opset: int) -> None:
    """Refuse an operator set that this torch does not write or this ONNX Runtime does not run."""
    import onnx
    from onnx import TensorProto, helper
    from torch.onnx import _constants

    from ..latency_tables.runtimes.onnxruntime import onnxruntime

    most = min(onnx.defs.onnx_opset_version(), getattr(_constants, "ONNX_TORCHSCRIPT_EXPORTER_MAX_OPSET", 20))
    if opset > most:
        raise UserError(
            f"export.opset: Input should be less than or equal to {most}, which the exporter writes (got {opset})"
        )
    if opset == 18:  # the default: known to run
        return
    ends = [helper.make_tensor_value_info(name, TensorProto.FLOAT, [1]) for name in ("x", "y")]
    graph = helper.make_graph([helper.make_node("Relu", ["x"], ["y"])], "tried", ends[:1], ends[1:])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)])
    model.ir_version = min(model.ir_version, 10)
    try:
        onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    except Exception as error:  # its exceptions have no common class
        raise UserError(f"export.opset: this ONNX Runtime does not run operator set {opset}: {_said(error)}") from None


def _check_files(config: Config) -> None:
    from ..latency_tables import load_table
    from .training.distillation import teacher_source
    from .training.weights import check_weights_file

    for table in (config.latency.table, config.latency.int8_table):
        if table is not None:
            load_table(table)
    distillation = config.retrain.distillation
    teacher_source(distillation)
    for key, path in (("weights", config.retrain.weights), ("distillation.weights", distillation.weights)):
        if path is not None:
            check_weights_file(Path(path), f"retrain.{key}: ")
    if config.export.sign_with is not None:
        from ..exporters.passport.checksums import fingerprint

        fingerprint(expanded(config.export.sign_with))


@contextmanager
def _undisturbed() -> Iterator[None]:
    """Trying things out leaves everybody's random numbers, and the terminal, as they were."""
    from ..models import seeded

    with seeded(0), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield


def _said(error: Exception) -> str:
    text = " ".join(str(error).split())
    return text[:200] or type(error).__name__
