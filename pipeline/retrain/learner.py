"""What every rank of a training does: its part of each batch."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from ...exporters.errors import in_one_line
from ...models import AnyNetwork, Architecture, build_any_network, check_classifier, main_output, seeded
from ..config import Config
from ..data import Dataset, batches_per_epoch, train_batches
from ..errors import UserError
from ..training.data_parallel import Replica
from ..training.distillation import Teacher, open_teacher
from ..training.shared import autocast, to_device, training_device
from ..training.weights import weights_content


class Learner:
    """What every rank has: the network, what moves it, and its part of the batches.

    Raises:
        UserError: the network cannot be made, or does not classify these images.
    """

    def __init__(self, source: AnyNetwork, config: Config, dataset: Dataset) -> None:
        self.config, self.settings, self.dataset = config, config.retrain, dataset
        self.device, self.replica = training_device(), Replica.here()
        self.batch_size = min(self.settings.batch_size, len(dataset.full_train))
        if self.batch_size // self.replica.count < 2:
            raise UserError(
                f"batches of {self.batch_size} images are too few for {self.replica.count} ranks: each needs 2, for "
                "batch norm"
            )
        torch.manual_seed(config.seed)
        self.network = to_device(build_trainable(source, config, len(dataset.classes)), self.device)
        self.teacher: Teacher | None = None
        self.optimizer = self.settings.make_optimizer(self.network)
        self.steps_per_epoch = batches_per_epoch(len(dataset.full_train), self.settings.batch_size)
        self.scheduler = self.settings.make_scheduler(self.optimizer, self.steps_per_epoch)
        self.step = 0

    def open_teacher(self, state: dict[str, Tensor] | None = None) -> None:
        """Have a teacher, where there is to be one, with the weights that are configured or given."""
        sizes = resolutions_of(self.config)
        self.teacher = open_teacher(self.settings.distillation, len(self.dataset.classes), sizes, self.device, state)

    @property
    def epoch(self) -> int:
        """The epoch that the next update belongs to."""
        return self.step // self.steps_per_epoch

    def run_epoch(self, epoch: int, after_step: Callable[[float], None]) -> None:
        """Train to the end of an epoch; `after_step` is given the loss of each update."""
        batches = train_batches(
            self.dataset.full_train,
            batch_size=self.settings.batch_size,
            resolution=self.settings.resolution_at(epoch, self.config.deploy.resolution),
            augment=self.settings.augment,
            seed=self.config.seed,
            epoch=epoch,
            start=self.step % self.steps_per_epoch,
            part=(self.replica.rank, self.replica.count),
        )
        self.network.train()
        for images, labels in batches:
            loss = self._train_step(images.to(self.device), labels.to(self.device))
            self.step += 1
            after_step(loss)
        self.replica.share_buffers(self.network)

    def _train_step(self, images: Tensor, labels: Tensor) -> float:
        self.replica.seed(self.config.seed, self.step)
        self.scheduler.step_update(self.step)
        self.optimizer.zero_grad(set_to_none=True)
        with autocast(self.settings.amp, self.device):
            logits = main_output(self.network(images))
            loss = functional.cross_entropy(logits, labels, label_smoothing=self.settings.label_smoothing)
            if self.teacher is not None:
                loss = self.teacher.mixed(loss, logits, images)
        loss = self.replica.backward(loss, list(self.network.parameters()), self.batch_size)
        if self.settings.clip_grad is not None:
            nn.utils.clip_grad_norm_(self.network.parameters(), self.settings.clip_grad)
        self.optimizer.step()
        return loss

    def agrees(self) -> bool:
        """Whether all ranks have the same weights, as they must at the end of an epoch."""
        return self.replica.is_same(self.network)

    def state(self) -> dict[str, Any]:
        """What training goes on from."""
        return {
            "step": self.step,
            "network": self.network.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "scheduler": self.scheduler.state_dict(),
        }

    def load(self, state: dict[str, Any]) -> None:
        """Go on from there."""
        self.step = state["step"]
        self.network.load_state_dict(state["network"])
        self.optimizer.load_state_dict(state["optimizer"])
        self.scheduler.load_state_dict(state["scheduler"])


def resolutions_of(config: Config) -> tuple[int, ...]:
    """Sizes of the training images, in the order of the epochs."""
    first, last = (config.retrain.resolution_at(e, config.deploy.resolution) for e in (0, config.retrain.epochs - 1))
    return (first,) if first == last else (first, last)


def build_trainable(source: AnyNetwork, config: Config, num_classes: int) -> nn.Module:
    """A network that can be trained, from random weights or those that the configuration names.

    Raises:
        UserError: it cannot be made, or not be trained.
    """
    settings = config.retrain
    try:
        network = build_any_network(
            source,
            width=config.deploy.width,
            num_classes=num_classes,
            drop_rate=settings.dropout,
            drop_path_rate=settings.drop_path,
        )
        if not isinstance(source, Architecture):
            check_classifier(network, str(source), {*resolutions_of(config), config.deploy.resolution}, num_classes)
            _check_trainable(network, source, config.deploy.resolution, num_classes)
    except ValueError as error:
        raise UserError(str(error)) from None
    for module in network.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.momentum = settings.bn_momentum
    return network


def _check_trainable(network: nn.Module, source: AnyNetwork, resolution: int, num_classes: int) -> None:
    """Refuse before the first epoch what would be refused in it, or after the last one."""
    try:
        weights_content(network)
        with seeded(0), torch.no_grad():
            logits = main_output(copy.deepcopy(network).train()(torch.zeros(2, 3, resolution, resolution)))
    except Exception as error:  # whatever the user's code raises
        raise ValueError(f"{source} cannot be trained: {in_one_line(error)}") from error
    if tuple(logits.shape) != (2, num_classes):
        raise ValueError(f"{source} answers [2, {num_classes}] nowhere in training, but {list(logits.shape)} first")
    if not any(parameter.requires_grad for parameter in network.parameters()):
        raise ValueError(f"{source} has no parameters that training could change")
