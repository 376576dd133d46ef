"""Stage `supernet`: single-path training under strict fairness (FairNAS, Algorithm 1)."""

from __future__ import annotations

import time
from typing import Any

import torch
from safetensors.torch import load, save
from torch.nn import functional

from ..latency_tables.files import write_atomic, write_json
from ..models import SearchSpace, Supernet, align_choices
from .config import Config
from .console import progress_bar
from .data import Augment, Dataset, batches_per_epoch, train_batches
from .fair_step import accumulate_fair_gradients
from .runs import Workspace
from .sampling import FairnessLedger, StrictFairSampler
from .schedule import make_scheduler
from .training import Metrics, autocast, to_device, training_device

VERSION = 1
OUTPUTS = ("weights.safetensors", "fairness.json", "metrics.jsonl")
LOG_EVERY = 10


def train_supernet(config: Config, space: SearchSpace, dataset: Dataset, workspace: Workspace) -> None:
    """Train, and write weights, ledger and metrics.

    Args:
        config: the run's configuration.
        space: the search space at proxy width.
        dataset: its `train` part trains.
        workspace: where to write; an unfinished training there is resumed.
    """
    training = _Training(config, space, dataset, workspace)
    training.run()
    training.write_results()


class _Training:
    """The state of one supernet training: everything that a checkpoint must hold."""

    def __init__(self, config: Config, space: SearchSpace, dataset: Dataset, workspace: Workspace) -> None:
        self.config, self.settings, self.dataset, self.workspace = config, config.supernet, dataset, workspace
        self.device = training_device()
        torch.manual_seed(config.seed)
        self.supernet = Supernet(space, num_classes=len(dataset.classes))
        if self.settings.init == "aligned":
            align_choices(self.supernet)
        to_device(self.supernet, self.device)
        self.sampler = StrictFairSampler(len(space.layers), len(space.choices), config.seed)
        self.ledger = FairnessLedger(len(space.layers), len(space.choices))
        self.optimizer = torch.optim.SGD(
            self.supernet.parameters(),
            lr=self.settings.lr,
            momentum=self.settings.momentum,
            weight_decay=self.settings.weight_decay,
        )
        self.steps_per_epoch = batches_per_epoch(len(dataset.train), self.settings.batch_size)
        self.total_steps = self.settings.epochs * self.steps_per_epoch
        self.scheduler = make_scheduler(
            self.optimizer,
            "cosine",
            epochs=self.settings.epochs,
            warmup_epochs=self.settings.warmup_epochs,
            steps_per_epoch=self.steps_per_epoch,
        )
        self.step = 0
        self.metrics = Metrics(workspace.folder / "metrics.jsonl")
        self.checkpoint = workspace.checkpoint(self.settings.checkpoint_seconds)
        self._resume()

    def run(self) -> None:
        """Train until the last step, checkpointing on the way."""
        with progress_bar("supernet", self.total_steps, self.step) as bar:
            for epoch in range(self.step // self.steps_per_epoch, self.settings.epochs):
                self._run_epoch(epoch, lambda loss: bar.advance(f"loss {loss:.3f}"))
        self.checkpoint.save(self._state())

    def _run_epoch(self, epoch: int, report: Any) -> None:
        batches = train_batches(
            self.dataset.train,
            batch_size=self.settings.batch_size,
            resolution=self.config.proxy.resolution,
            augment=Augment(**self.settings.augment.model_dump()),
            seed=self.config.seed,
            epoch=epoch,
            start=self.step % self.steps_per_epoch,
        )
        self.supernet.train()
        for images, labels in batches:
            started = time.monotonic()
            loss = self._fair_step(images.to(self.device), labels.to(self.device))
            self.step += 1
            report(loss)
            if self.step % LOG_EVERY == 0 or self.step == self.total_steps:
                self.metrics.add(
                    kind="step",
                    step=self.step,
                    epoch=epoch,
                    loss=loss,
                    lr=self.optimizer.param_groups[0]["lr"],
                    images_per_second=round(len(images) * len(self.ledger.counts[0]) / (time.monotonic() - started), 1),
                )
            self.checkpoint.save_if_due(self._state)

    def _fair_step(self, images: torch.Tensor, labels: torch.Tensor) -> float:
        paths = self.sampler.sample()
        self.scheduler.step_update(self.step)
        self.optimizer.zero_grad(set_to_none=True)
        with autocast(self.settings.amp, self.device):
            loss = accumulate_fair_gradients(
                self.supernet, images, labels, paths, self._loss, shared_gradients=self.settings.shared_gradients
            )
        self.optimizer.step()
        self.ledger.record(paths)
        return float(loss)

    def _loss(self, logits: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
        return functional.cross_entropy(logits, labels, label_smoothing=self.settings.label_smoothing)

    def write_results(self) -> None:
        """Weights, ledger and metrics."""
        space = self.supernet.space
        weights = {name: tensor.contiguous() for name, tensor in self.supernet.cpu().state_dict().items()}
        write_atomic(self.workspace.folder / "weights.safetensors", save(weights))
        fairness = {
            "sampling": "strict",
            "shared_gradients": self.settings.shared_gradients,
            "choices": [str(choice) for choice in space.choices],
            "layers": len(space.layers),
            "backward_passes": self.ledger.steps * len(space.choices),
            **self.ledger.state(),
        }
        write_json(self.workspace.folder / "fairness.json", fairness)
        self.metrics.write()

    def _state(self) -> dict[str, Any]:
        self.metrics.write()
        return {
            "step": self.step,
            "supernet": self.supernet.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "scheduler": self.scheduler.state_dict(),
            "sampler": self.sampler.state(),
            "ledger": self.ledger.state(),
            "metrics": self.metrics.rows,
        }

    def _resume(self) -> None:
        state = self.checkpoint.load()
        if state is None:
            return
        self.step = state["step"]
        self.supernet.load_state_dict(state["supernet"])
        self.optimizer.load_state_dict(state["optimizer"])
        self.scheduler.load_state_dict(state["scheduler"])
        self.sampler.load_state(state["sampler"])
        self.ledger.load_state(state["ledger"])
        self.metrics.rows = state["metrics"]


def load_supernet(weights: bytes, space: SearchSpace, num_classes: int) -> Supernet:
    """A trained supernet from the content of its weights file."""
    supernet = Supernet(space, num_classes)
    supernet.load_state_dict(load(weights))
    return supernet
