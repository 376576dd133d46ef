"""Stages `retrain/<name>`."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import torch

from ...common.files import sha256_file
from ...models import AnyNetwork, Architecture, code_of
from ..config import Config
from ..data import Dataset, load_dataset
from ..errors import UserError
from ..retrain import train as retrain
from ..retrain.transfer import Trained
from ..runs.run import Stage
from ..training.distillation import open_teacher, teacher_source
from ..user_modules import check_survivable
from .context import Context
from .networks import hard_swish_networks, transferred_name

DECIDED_BY = (retrain, load_dataset)


def check_trainable(context: Context, networks: Mapping[str, AnyNetwork]) -> None:
    """Refuse networks whose weights the supernet cannot give, when they are asked of it.

    Raises:
        UserError: `retrain.init` is `inherited` and a network is of another space or has squeeze-and-excitation.
    """
    if context.config.retrain.init == "inherited":
        for name, source in networks.items():
            known = isinstance(source, Architecture) and source.space == context.config.space and not source.se_ratio
            if not known:
                raise UserError(f"the supernet has no weights for {name}: add --set retrain.init=scratch")


def run(context: Context, networks: Mapping[str, AnyNetwork], config: Config | None = None) -> None:
    """Train networks stand-alone, with the run's configuration or another."""
    config = config or context.config
    if not networks:
        return
    inherited = config.retrain.init == "inherited"
    inputs = {"dataset": context.dataset.digest}
    if inherited:
        inputs["supernet"] = context.run.digest("supernet", "weights.safetensors")
    # Files count by what they hold, not by where they lie.
    elsewhere = {"checkpoint_seconds": True, "weights": True, "distillation": {"weights"}}
    given = {"weights": config.retrain.weights, "teacher": config.retrain.distillation.weights}
    files = {name: Path(path) for name, path in given.items() if path is not None}
    teacher = teacher_source(config.retrain.distillation)
    for name, source in networks.items():
        code = {"code": code_of(source), "teacher_code": code_of(teacher) if teacher is not None else None}
        read = files | {of: path for of, path in code.items() if path is not None}
        begun = retrain.digest_at_start(source, config, len(context.dataset.classes))
        context.run.execute(
            Stage(
                f"retrain/{name}",
                retrain.VERSION,
                {
                    "seed": config.seed,
                    "architecture": str(source),
                    "deploy": config.deploy.model_dump(),
                    "retrain": config.retrain.model_dump(exclude=elsewhere),
                },
                inputs | {of: sha256_file(path) for of, path in read.items()} | begun,
                retrain.OUTPUTS,
                lambda work, name=name, source=source: retrain.retrain(
                    name, source, config, context.dataset, work, context.mobile_supernet if inherited else None
                ),
            )
        )


def transfer(context: Context, trained: Trained) -> str:
    """Train a network on these classes from weights of others, which the configuration names.

    Returns:
        What it is called here: its stage is none of a network that was trained on its own images.
    """
    name = transferred_name(context.dataset.name, trained.name)
    run(context, {name: trained.source})
    return name


def with_hard_swish(context: Context, networks: Mapping[str, AnyNetwork]) -> dict[str, AnyNetwork]:
    """Fine-tune trained networks with hard-Swish in the place of Swish.

    Returns:
        The fine-tuned ones under names that end in `_hswish`, and those that have no Swish as they are.
    """
    replaced = hard_swish_networks(networks)
    settings = context.config.hard_swish
    for (name, source), (new_name, new) in zip(networks.items(), replaced.items(), strict=True):
        if new == source:
            continue
        recipe = context.config.retrain.model_copy(
            update={
                "init": "weights",
                "weights": str(context.run.folder / "retrain" / name / "weights.safetensors"),
                "epochs": settings.epochs,
                "first_epochs": 0,
                "first_resolution": None,
                "lr": context.config.retrain.lr * settings.lr_factor,
                "warmup_epochs": min(1, settings.epochs - 1),
                "validate_epochs": 1,
            }
        )
        run(context, {new_name: new}, context.config.model_copy(update={"retrain": recipe}))
    return replaced


def check_teacher(config: Config, dataset: Dataset) -> None:
    """Make the teacher of a distillation once, before anything is trained: its code and weights are somebody's.

    Raises:
        UserError: see `open_teacher`; or making it ends the process.
    """
    settings = config.retrain
    source = teacher_source(settings.distillation)
    if source is None:
        return
    check_survivable(source)
    sizes = {settings.resolution_at(epoch, config.deploy.resolution) for epoch in (0, settings.epochs - 1)}
    open_teacher(settings.distillation, len(dataset.classes), sorted(sizes), torch.device("cpu"))
