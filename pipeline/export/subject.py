"""What is exported: a network with its weights, the images that suit it, and whether its accuracy can be told."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, cast

import torch
from safetensors import SafetensorError, safe_open
from timm.data.config import resolve_data_config
from torch import nn

from ...common.text import shown
from ...exporters import Preprocessing
from ...exporters.deployable import Deployable, Samples
from ...exporters.parity import answers
from ...exporters.soundness import require_finite, require_sound
from ...models import (
    AnyNetwork,
    Architecture,
    Cost,
    TimmModel,
    UserModel,
    build_any_network,
    classes_of,
    classifier_of,
    get_space,
    materialise,
    multiply_adds,
    seeded,
)
from ..config import Config
from ..console import console
from ..data import Dataset, ImageSet, eval_batches
from ..data.images import Channels
from ..errors import UserError
from ..training.weights import load_weights, stated_resolution

Weights = Literal["trained", "given", "random"]
EVAL_BATCH = 128
PROBED_IMAGES = 8  # on which a network must answer with numbers, and twice with the same
SETTLING_IMAGES = 32  # statistics of random weights need no precision


@dataclass(frozen=True)
class Subject:
    """A network that is about to be exported.

    Attributes:
        source: what it is.
        deployable: what exporters are given.
        weights: trained in this run, given in a file, or random.
        images: normalised as the network expects.
        cost: exact parameters and multiply-adds at its resolution.
        knows_classes: whether its logits are the classes of the images, so that its accuracy on them can be told.
    """

    source: AnyNetwork
    deployable: Deployable
    weights: Weights
    images: Dataset
    cost: Cost
    knows_classes: bool

    @property
    def resolution(self) -> int:
        """Height and width of its images, in pixels."""
        return self.deployable.preprocessing.resolution

    def samples(self, calibration: int, selection: int) -> Samples:
        """Training images for quantisation. Where the labels mean nothing to the network, its own answers are them."""
        chosen, labels = _stacked(self.images.heldout.spread(selection), self.resolution)
        if not self.knows_classes:
            with torch.no_grad():
                labels = torch.cat([answers(self.deployable.network(part)) for part in chosen.split(EVAL_BATCH)])
        return Samples(_stacked(self.images.train.spread(calibration), self.resolution)[0], chosen, labels)


def open_subject(
    name: str,
    source: AnyNetwork,
    weights: Path | None,
    kind: Weights,
    config: Config,
    dataset: Dataset,
    *,
    resolution: int | None = None,
) -> Subject:
    """Build a network, load its weights, and find out what it expects.

    Args:
        name: what it is called.
        source: what to build.
        weights: a `.safetensors` file; None leaves what the source gives.
        kind: where these weights come from.
        config: the run's configuration.
        dataset: real images.
        resolution: of the images, in pixels; None for what the configuration says, or timm of its networks.

    Raises:
        UserError: the weights are not the network's, are of another resolution, or it is no classifier of RGB images;
            or it was trained here, and the configuration says otherwise how its images are normalised.
    """
    if kind == "trained":
        refuse_other_normalisation(config)
    mean, std = dataset.mean, dataset.std
    try:
        network = built_network(source, weights, config, len(dataset.classes) if kind == "trained" else None)
        require_finite(network)
        if isinstance(source, TimmModel) and kind != "trained":
            expected = resolve_data_config(model=network)
            resolution = resolution or int(expected["input_size"][-1])
            mean, std = cast(tuple[Channels, Channels], (tuple(expected["mean"]), tuple(expected["std"])))
        resolution = resolution or config.deploy.resolution
        if weights is not None and kind == "given":
            resolution = _agreed_resolution(name, source, weights, resolution)
        if kind != "trained":
            mean, std = config.export.mean or mean, config.export.std or std
        count = classes_of(network, resolution)
        cost = _cost(source, network, config, resolution, count)
    except (ValueError, UserError) as error:
        raise UserError(f"{name}: {error}") from None
    images = _normalised(dataset, mean, std)
    if kind == "random":
        _settle(network, images.train.spread(SETTLING_IMAGES), resolution)
    batch, _ = _stacked(images.val.spread(PROBED_IMAGES), resolution)
    try:
        require_sound(network, batch, config.export.tolerance)
    except ValueError as error:
        raise UserError(f"{name}: {error}") from None
    classes = _class_names(count, dataset.classes)
    knows_classes = kind != "random" and classes is not None
    classes = classes or tuple(f"class {n}" for n in range(count))
    preprocessing = Preprocessing(resolution, dataset.crop_pct, mean, std)
    deployable = Deployable(name, network, preprocessing, classes)
    return Subject(source, deployable, kind, images, cost, knows_classes)


def refuse_other_normalisation(config: Config) -> None:
    """Of networks that this run trains: how their images are normalised is no choice any more.

    Raises:
        UserError: the configuration makes one.
    """
    if config.export.mean is not None or config.export.std is not None:
        raise UserError(
            "export.mean and export.std are for networks from elsewhere: those that a run trains saw its images with "
            "their own; leave both out"
        )


def _agreed_resolution(name: str, source: AnyNetwork, weights: Path, resolution: int) -> int:
    """The resolution of given weights: what they state, else what is configured, or timm's, and that is said."""
    stated = stated_resolution(weights)
    if stated is None:
        says = f"{name}: {weights} does not say for which images it was trained: {resolution} px are assumed"
        console.print(f"[yellow]        {shown(says)}[/]")
    elif stated != resolution and not isinstance(source, TimmModel):
        raise UserError(
            f"{weights} was trained at {stated} px, not at {resolution}: add --set deploy.resolution={stated}"
        )
    return stated or resolution


def built_network(source: AnyNetwork, weights: Path | None, config: Config, num_classes: int | None) -> nn.Module:
    """The network with its weights; of ones that were trained elsewhere, the classes are those of their weights.

    What is random in a user's network begins at the run's seed.

    Raises:
        ValueError: the network cannot be made.
        UserError: the weights are not the network's.
    """
    with seeded(config.seed) if isinstance(source, UserModel) else nullcontext():
        if weights is not None and num_classes is None:
            num_classes = _classes_in(weights, build_any_network(source, width=config.deploy.width))
        given = {} if num_classes is None else {"num_classes": num_classes}
        network = build_any_network(source, width=config.deploy.width, **given)
        materialise(network, config.deploy.resolution)
    if weights is not None:
        load_weights(network, weights)
    return network.eval()


def _class_names(count: int, classes: Sequence[str]) -> tuple[str, ...] | None:
    """Names of a network's logits, where its answers are the images' classes; one logit tells two classes apart."""
    if count == len(classes):
        return tuple(classes)
    return (classes[1],) if count == 1 and len(classes) == 2 else None


def _classes_in(weights: Path, network: nn.Module) -> int | None:
    """How many classes the classifier in a file has; None where it is called otherwise than the network's."""
    classifier = f"{classifier_of(network)}.weight"
    try:
        with safe_open(weights, "pt") as file:
            known = classifier in file.keys()  # noqa: SIM118  (it is no mapping)
            return file.get_slice(classifier).get_shape()[0] if known else None
    except (OSError, SafetensorError):
        return None  # which load_weights explains


def _normalised(dataset: Dataset, mean: Channels, std: Channels) -> Dataset:
    if (mean, std) == (dataset.mean, dataset.std):
        return dataset
    parts = {part: getattr(dataset, part).normalised(mean, std) for part in ("full_train", "train", "heldout", "val")}
    return Dataset(**(vars(dataset) | parts))


@torch.no_grad()
def _settle(network: nn.Module, images: ImageSet, resolution: int) -> None:
    """Give a network with random weights the statistics of real images.

    Without them its activations vanish from layer to layer, its answer is the classifier's bias whatever the image,
    and the largest differences between two formats of it would not be seen.
    """
    norms = [module for module in network.modules() if isinstance(module, nn.modules.batchnorm._BatchNorm)]
    momenta = [module.momentum for module in norms]
    for module in norms:
        module.reset_running_stats()
        module.momentum = None  # the mean over all batches
        module.train()
    for batch, _ in eval_batches(images, batch_size=EVAL_BATCH, resolution=resolution):
        network(batch)
    for module, momentum in zip(norms, momenta, strict=True):
        module.momentum = momentum
    network.eval()


def _cost(source: AnyNetwork, network: nn.Module, config: Config, resolution: int, num_classes: int) -> Cost:
    """By arithmetic for ours, by counting what PyTorch computes for others."""
    if isinstance(source, Architecture):
        return get_space(source.space).scaled(config.deploy.width).cost(source, resolution, num_classes)
    return Cost(sum(parameter.numel() for parameter in network.parameters()), multiply_adds(network, resolution))


def _stacked(images: ImageSet, resolution: int) -> tuple[torch.Tensor, torch.Tensor]:
    batches = list(eval_batches(images, batch_size=EVAL_BATCH, resolution=resolution))
    return torch.cat([pixels for pixels, _ in batches]), torch.cat([labels for _, labels in batches])
