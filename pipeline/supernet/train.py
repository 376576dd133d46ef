"""Stage `supernet`: training with shared weights, under strict fairness (FairNAS, Algorithm 1) or another sampling."""

from __future__ import annotations

import itertools
import math
import time
from collections.abc import Iterator, Mapping
from typing import Any, cast

import torch
from safetensors.torch import load, save
from torch.nn import functional

from ...common.files import write_atomic, write_json
from ...models import AnySupernet, Space, Supernet, align_choices, build_supernet
from ..config import Config
from ..console import progress_bar
from ..data import Dataset, batches_per_epoch, train_batches
from ..runs import stopping
from ..runs.run import Workspace
from ..training.diverged import Watch
from ..training.saved_state import is_finite
from ..training.schedule import make_scheduler
from ..training.shared import Metrics, are_rows, autocast, to_device, training_device
from .sampling import make_sampling
from .sampling.ledger import FairnessLedger
from .step import Batch, SampledPath, accumulate_gradients

VERSION = 2
OUTPUTS = ("weights.safetensors", "fairness.json", "metrics.jsonl")
LOG_EVERY = 10


def train_supernet(config: Config, space: Space, dataset: Dataset, workspace: Workspace) -> None:
    """Train, and write weights, ledger and metrics.

    Args:
        config: the run's configuration.
        space: the search space at proxy width.
        dataset: its `train` part trains.
        workspace: where to write; an unfinished training there is resumed.

    Raises:
        UserError: the training diverged, or the checkpoints of an unfinished one are damaged.
    """
    training = _Training(config, space, dataset, workspace)
    with stopping.between_steps():
        training.run()
    training.write_results()


class _Training:
    """The state of one supernet training: everything that a checkpoint must hold."""

    def __init__(self, config: Config, space: Space, dataset: Dataset, workspace: Workspace) -> None:
        self.config, self.settings, self.dataset, self.workspace = config, config.supernet, dataset, workspace
        self.device = training_device()
        torch.manual_seed(config.seed)
        self.space = space
        self.supernet = build_supernet(space, num_classes=len(dataset.classes))
        if self.settings.init == "aligned" and space.has_aligned_init:
            align_choices(cast(Supernet, self.supernet))
        to_device(self.supernet, self.device)
        self.batches_per_epoch = batches_per_epoch(len(dataset.train), self.settings.batch_size)
        passes_per_epoch = self.batches_per_epoch * math.lcm(*space.genes)
        self.sampling = make_sampling(
            self.settings, space, len(dataset.classes), config.seed, self.settings.epochs * passes_per_epoch
        )
        self.ledger = FairnessLedger(space.genes)
        self.optimizer = torch.optim.SGD(
            self.supernet.parameters(),
            lr=self.settings.lr * self.sampling.lr_factor,
            momentum=self.settings.momentum,
            nesterov=self.settings.nesterov,
            weight_decay=self.settings.weight_decay,
        )
        self.total_steps = max(1, int(self.settings.epochs * passes_per_epoch / self.sampling.passes))
        # A schedule of single updates: an epoch of strict fairness need not hold a whole number of them.
        self.scheduler = make_scheduler(
            self.optimizer,
            "cosine",
            epochs=self.total_steps,
            warmup_epochs=int(self.settings.warmup_epochs * passes_per_epoch / self.sampling.passes),
            steps_per_epoch=1,
        )
        self.step = 0
        self.watch = Watch("the supernet", self._advice(), self.supernet)
        self.path_losses: list[torch.Tensor] = []
        self.metrics = Metrics(workspace.folder / "metrics.jsonl")
        self.checkpoint = workspace.checkpoint(self.settings.checkpoint_seconds)
        self._resume()

    def run(self) -> None:
        """Train until the last step, checkpointing on the way."""
        self.supernet.train()
        if self.settings.unsampled == "drift":
            # torch leaves alone what never had a gradient; a gradient of zero is moved by momentum and weight decay.
            for parameter in self.supernet.parameters():
                parameter.grad = torch.zeros_like(parameter)
        batches = self._batches(start=self.step * self.sampling.batches)
        with progress_bar("supernet", self.total_steps, self.step) as bar:
            while self.step < self.total_steps:
                started = time.monotonic()
                paths = self.sampling.sample()
                loss, images = self._update(list(itertools.islice(batches, self.sampling.batches)), paths)
                self.step += 1
                self.watch.check_loss(loss, self._where(paths))
                bar.advance(f"loss {loss:.3f}")
                if self.step % LOG_EVERY == 0 or self.step == self.total_steps:
                    self.watch.check_weights(self._where())
                    self.metrics.add(
                        kind="step",
                        step=self.step,
                        epoch=self._epoch,
                        loss=loss,
                        lr=self.optimizer.param_groups[0]["lr"],
                        images_per_second=round(images / (time.monotonic() - started), 1),
                    )
                self.checkpoint.save_if_due(self._state)
        self.checkpoint.save(self._state())

    def _batches(self, start: int) -> Iterator[Batch]:
        """Batches from number `start` on, epoch after epoch."""
        for epoch in itertools.count(start // self.batches_per_epoch):
            yield from train_batches(
                self.dataset.train,
                batch_size=self.settings.batch_size,
                resolution=self.config.proxy.resolution,
                augment=self.settings.augment,
                seed=self.config.seed,
                epoch=epoch,
                start=start % self.batches_per_epoch,
            )
            start = 0

    def _update(self, batches: list[Batch], paths: list[SampledPath]) -> tuple[float, int]:
        """One update: its mean loss, and how many images went through a path."""
        self.path_losses.clear()
        self.scheduler.step_update(self.step)
        self.optimizer.zero_grad(set_to_none=self.settings.unsampled == "frozen")
        with autocast(self.settings.amp, self.device):
            loss = accumulate_gradients(
                self.supernet,
                [(images.to(self.device), labels.to(self.device)) for images, labels in batches],
                paths,
                self._loss,
                shared_gradients=self.settings.shared_gradients,
            )
        self.optimizer.step()
        self.ledger.record(paths)
        return float(loss), len(paths) * len(batches[0][0])

    def _loss(self, logits: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
        loss = functional.cross_entropy(logits, labels, label_smoothing=self.settings.label_smoothing)
        self.path_losses.append(loss.detach())
        return loss

    @property
    def _epoch(self) -> int:
        """The epoch of the last step, from 0."""
        return (self.step * self.sampling.batches - 1) // self.batches_per_epoch

    def _where(self, paths: list[SampledPath] | None = None) -> str:
        """The last step in words, and of its paths the first one whose loss is no number."""
        where = f"step {self.step} of {self.total_steps}, epoch {self._epoch + 1}"
        for path, loss in zip(paths or (), self.path_losses, strict=False):
            if not is_finite(loss):
                chosen = [self.space.choices[choice] if isinstance(choice, int) else choice for choice in path]
                return f"{where}, path {'-'.join(map(str, chosen))}"
        return where

    def _advice(self) -> list[str]:
        advice = [f"Lower supernet.lr ({self.settings.lr:g})"]
        if self.settings.amp != "none":
            advice.append("or set supernet.amp=none")
        return advice

    def write_results(self) -> None:
        """Weights, ledger and metrics."""
        weights = {name: tensor.contiguous() for name, tensor in self.supernet.cpu().state_dict().items()}
        write_atomic(self.workspace.folder / "weights.safetensors", save(weights))
        fairness = {
            "sampling": self.settings.sampling,
            "shared_gradients": self.settings.shared_gradients,
            "choices": [str(choice) for choice in self.space.choices],
            "layers": len(self.space.layers),
            "backward_passes": self.ledger.backward_passes,
            **self.ledger.state(),
        }
        write_json(self.workspace.folder / "fairness.json", fairness)
        self.metrics.write()

    def _state(self) -> dict[str, Any]:
        """What is saved: nothing that has diverged."""
        self.watch.check_weights(self._where())
        self.metrics.write()
        return self._content()

    def _content(self) -> dict[str, Any]:
        return {
            "step": self.step,
            "supernet": self.supernet.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "scheduler": self.scheduler.state_dict(),
            "sampling": self.sampling.state(),
            "ledger": self.ledger.state(),
            "metrics": self.metrics.rows,
        }

    def _resume(self) -> None:
        state = self.checkpoint.load(self._content(), self._check)
        if state is None:
            return
        self.step = state["step"]
        self.supernet.load_state_dict(state["supernet"])
        self.optimizer.load_state_dict(state["optimizer"])
        self.scheduler.load_state_dict(state["scheduler"])
        self.sampling.load_state(state["sampling"])
        self.ledger.load_state(state["ledger"])
        self.metrics.rows = state["metrics"]

    def _check(self, state: Mapping[str, Any]) -> str | None:
        step, rows = state["step"], state["metrics"]
        if not 0 < step <= self.total_steps or state["ledger"]["steps"] != step:
            return f"is of step {step} of {self.total_steps}, after {state['ledger']['steps']} updates"
        if not are_rows(rows) or [row.get("step") for row in rows] != self._logged(step):
            return f"does not hold the metrics up to step {step}"
        return None

    def _logged(self, step: int) -> list[int]:
        """The steps up to this one that leave a row."""
        return [each for each in range(1, step + 1) if each % LOG_EVERY == 0 or each == self.total_steps]


def load_supernet(weights: bytes, space: Space, num_classes: int) -> AnySupernet:
    """A trained supernet from the content of its weights file."""
    supernet = build_supernet(space, num_classes)
    supernet.load_state_dict(load(weights))
    return supernet
