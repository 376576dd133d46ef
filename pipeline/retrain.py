"""Stage `retrain/<name>`: stand-alone training of one network with timm's optimisers, schedules and averaging."""

from __future__ import annotations

import time
from typing import Any

import torch
from safetensors.torch import save
from timm.utils import ModelEmaV3
from torch import Tensor
from torch.nn import functional

from ..latency_tables.files import write_atomic, write_json
from ..models import AnyNetwork, Architecture, Supernet, build_any_network
from .config import Config
from .console import progress_bar
from .data import Augment, Dataset, batches_per_epoch, train_batches
from .distillation import open_teacher
from .runs import Workspace
from .training import Metrics, autocast, to_device, top1, training_device
from .weights import load_weights

VERSION = 1
OUTPUTS = ("weights.safetensors", "result.json", "metrics.jsonl")
EVAL_BATCH = 256


def retrain(
    name: str,
    source: AnyNetwork,
    config: Config,
    dataset: Dataset,
    workspace: Workspace,
    supernet: Supernet | None = None,
) -> None:
    """Train one network on all training images, and write weights, metrics and `result.json`.

    Nothing is selected on the validation images: the weights of the last epoch count (averaged ones where
    `retrain.ema_decay` is set).

    Args:
        name: what to call it.
        source: what to train.
        config: the run's configuration.
        dataset: `full_train` trains, `val` reports.
        workspace: where to write; an unfinished training there is resumed.
        supernet: where inherited weights come from, where `retrain.init` is `inherited`.

    Raises:
        UserError: given weights, or a teacher's, do not fit.
    """
    training = _Training(name, source, config, dataset, workspace, supernet)
    training.run()
    training.write_results()


class _Training:
    """The state of one training: everything that a checkpoint must hold."""

    def __init__(
        self,
        name: str,
        source: AnyNetwork,
        config: Config,
        dataset: Dataset,
        workspace: Workspace,
        supernet: Supernet | None,
    ) -> None:
        self.name, self.source, self.config, self.settings = name, source, config, config.retrain
        self.dataset, self.workspace = dataset, workspace
        self.device = training_device()
        torch.manual_seed(config.seed)
        self.network = build_any_network(
            source,
            width=config.deploy.width,
            num_classes=len(dataset.classes),
            drop_rate=self.settings.dropout,
            drop_path_rate=self.settings.drop_path,
        )
        for module in self.network.modules():
            if isinstance(module, torch.nn.BatchNorm2d):
                module.momentum = self.settings.bn_momentum
        if supernet is not None:
            assert isinstance(source, Architecture)  # Pipeline.check_trainable
            self.network.load_state_dict(supernet.path_state_dict(source))
        elif self.settings.weights is not None:
            load_weights(self.network, self.settings.weights, new_classifier=True)
        to_device(self.network, self.device)
        self.teacher = open_teacher(self.settings.distillation, len(dataset.classes), self.device)
        self.ema = ModelEmaV3(self.network, decay=self.settings.ema_decay) if self.settings.ema_decay else None
        self.optimizer = self.settings.make_optimizer(self.network)
        self.steps_per_epoch = batches_per_epoch(len(dataset.full_train), self.settings.batch_size)
        self.scheduler = self.settings.make_scheduler(self.optimizer, self.steps_per_epoch)
        self.step = 0
        self.epoch_loss = 0.0
        self.epoch_seconds = 0.0
        self.metrics = Metrics(workspace.folder / "metrics.jsonl")
        self.checkpoint = workspace.checkpoint(self.settings.checkpoint_seconds)
        self._resume()

    def run(self) -> None:
        """Train until the last epoch, checkpointing on the way."""
        total = self.settings.epochs * self.steps_per_epoch
        with progress_bar(self.name, total, self.step) as bar:
            for epoch in range(self.step // self.steps_per_epoch, self.settings.epochs):
                self._run_epoch(epoch, lambda loss: bar.advance(f"loss {loss:.3f}"))
                self._finish_epoch(epoch)
                if "val_top1" in self.metrics.rows[-1]:
                    bar.advance(f"top-1 {self.metrics.rows[-1]['val_top1']:.1%}", by=0)
        self.checkpoint.save(self._state())

    def _run_epoch(self, epoch: int, report: Any) -> None:
        batches = train_batches(
            self.dataset.full_train,
            batch_size=self.settings.batch_size,
            resolution=self.settings.resolution_at(epoch, self.config.deploy.resolution),
            augment=Augment(**self.settings.augment.model_dump()),
            seed=self.config.seed,
            epoch=epoch,
            start=self.step % self.steps_per_epoch,
        )
        self.network.train()
        started = time.monotonic()
        for images, labels in batches:
            loss = self._train_step(images.to(self.device), labels.to(self.device))
            self.epoch_loss += loss / self.steps_per_epoch
            self.step += 1
            self.epoch_seconds, started = self.epoch_seconds + time.monotonic() - started, time.monotonic()
            report(loss)
            # At an epoch's last step the checkpoint waits for the epoch's metrics.
            if self.step % self.steps_per_epoch:
                self.checkpoint.save_if_due(self._state)

    def _train_step(self, images: Tensor, labels: Tensor) -> float:
        self.scheduler.step_update(self.step)
        self.optimizer.zero_grad(set_to_none=True)
        with autocast(self.settings.amp, self.device):
            logits = self.network(images)
            loss = functional.cross_entropy(logits, labels, label_smoothing=self.settings.label_smoothing)
            if self.teacher is not None:
                loss = self.teacher.mixed(loss, logits, images)
        loss.backward()
        self.optimizer.step()
        if self.ema:
            self.ema.update(self.network, step=self.step)
        return float(loss.detach())

    def _finish_epoch(self, epoch: int) -> None:
        row: dict[str, Any] = {"epoch": epoch, "train_loss": self.epoch_loss}
        if (epoch + 1) % self.settings.validate_epochs == 0 or epoch + 1 == self.settings.epochs:
            row["val_top1"] = self._val_top1(self.network)
            if self.ema:
                row["ema_top1"] = self._val_top1(self.ema.module)
        row |= {"lr": self.optimizer.param_groups[0]["lr"], "seconds": round(self.epoch_seconds, 2)}
        self.metrics.add(**row)
        self.epoch_loss = self.epoch_seconds = 0.0
        self.metrics.write()
        self.checkpoint.save_if_due(self._state)

    def _val_top1(self, network: torch.nn.Module) -> float:
        network.eval()
        return top1(network, self.dataset.val, EVAL_BATCH, self.config.deploy.resolution, self.device)

    def write_results(self) -> None:
        """Weights and what they reached."""
        network = self.ema.module if self.ema else self.network
        weights = {name: tensor.cpu().contiguous() for name, tensor in network.state_dict().items()}
        write_atomic(self.workspace.folder / "weights.safetensors", save(weights))
        self.metrics.write()
        last = self.metrics.rows[-1]
        result = {
            "name": self.name,
            "architecture": str(self.source),
            "val_top1": last["ema_top1" if self.ema else "val_top1"],
            "epochs": self.settings.epochs,
            "resolution": self.settings.resolution_at(self.settings.epochs - 1, self.config.deploy.resolution),
            "width": self.config.deploy.width,
            "init": self.settings.init,
        }
        write_json(self.workspace.folder / "result.json", result)

    def _state(self) -> dict[str, Any]:
        return {
            "step": self.step,
            "epoch_loss": self.epoch_loss,
            "epoch_seconds": self.epoch_seconds,
            "network": self.network.state_dict(),
            "ema": self.ema.module.state_dict() if self.ema else None,
            "optimizer": self.optimizer.state_dict(),
            "scheduler": self.scheduler.state_dict(),
            "metrics": self.metrics.rows,
        }

    def _resume(self) -> None:
        state = self.checkpoint.load()
        if state is None:
            return
        self.step = state["step"]
        self.epoch_loss, self.epoch_seconds = state["epoch_loss"], state["epoch_seconds"]
        self.network.load_state_dict(state["network"])
        if self.ema:
            self.ema.module.load_state_dict(state["ema"])
        self.optimizer.load_state_dict(state["optimizer"])
        self.scheduler.load_state_dict(state["scheduler"])
        self.metrics.rows = state["metrics"]
