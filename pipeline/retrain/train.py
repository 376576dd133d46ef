"""Stage `retrain/<name>`: stand-alone training of one network with timm's optimisers, schedules and averaging.

Where torchrun started several ranks, the first one leads: it has the run folder, averages weights and validates; all
train their part of each batch.
"""

from __future__ import annotations

import io
import time
from collections.abc import Callable, Mapping
from typing import Any

import torch
from timm.utils import ModelEmaV3
from torch import Tensor, nn

from ...common.files import write_atomic, write_json
from ...exporters.litert.quiet import output_as_remarks
from ...models import AnyNetwork, Architecture, Supernet, UserModel, network_digest, parse_any_network, seeded
from .. import distributed
from ..config import Config
from ..console import console, progress_bar
from ..data import Dataset
from ..errors import UserError
from ..runs import stopping
from ..runs.run import Workspace
from ..training.chance import chance_warning
from ..training.diverged import Watch
from ..training.shared import Metrics, are_rows, top1
from ..training.weights import load_weights, weights_content
from .learner import Learner, build_trainable
from .settings import RetrainConfig

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
        UserError: the network cannot be made or does not classify these images, given weights or a teacher's do not
            fit, the training diverged, the checkpoints of an unfinished one are damaged, or another rank is gone.
    """
    training = _Training(name, source, config, dataset, workspace, supernet)
    with distributed.in_step(), stopping.between_steps():
        training.run()
    training.write_results()


def retrain_along(content: Tensor, dataset: Dataset) -> None:
    """What the other ranks do of `retrain`: train their part of each batch, from the state that the first one sends.

    Args:
        content: of the `distributed.Message.TRAIN`.
        dataset: this rank's images, of which `full_train` trains.

    Raises:
        UserError: these are other images than the first rank's, or another rank is gone.
    """
    sent = torch.load(io.BytesIO(content.numpy().tobytes()), map_location="cpu", weights_only=True)
    distributed.check_images(sent["dataset"], dataset.digest)
    config = Config.model_validate_json(sent["config"])
    learner = Learner(parse_any_network(sent["source"]), config, dataset)
    learner.open_teacher(sent["teacher"])
    learner.load(sent["learner"])
    with stopping.between_steps():  # the first rank says when to stop, at the same step for all
        for epoch in range(learner.epoch, config.retrain.epochs):
            learner.run_epoch(epoch, lambda _: None)
            if not learner.agrees():
                return  # the first rank says so


class _Training:
    """What the first rank has besides: averaged weights, metrics, and everything that a checkpoint must hold."""

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
        self.learner = Learner(source, config, dataset)
        self.network, self.device = self.learner.network, self.learner.device
        if supernet is not None:
            assert isinstance(source, Architecture)  # Pipeline.check_trainable
            self.network.load_state_dict(supernet.path_state_dict(source))
        elif self.settings.weights is not None:
            load_weights(self.network, self.settings.weights, new_classifier=True)
        self.learner.open_teacher()
        self.ema = ModelEmaV3(self.network, decay=self.settings.ema_decay) if self.settings.ema_decay else None
        averaged = [self.ema.module] if self.ema else []
        self.watch = Watch(name, _advice(self.settings), self.network, *averaged)
        self.epoch_loss = 0.0
        self.epoch_seconds = 0.0
        self.metrics = Metrics(workspace.folder / "metrics.jsonl")
        self.checkpoint = workspace.checkpoint(self.settings.checkpoint_seconds)
        self._resume()
        self._call_the_others()

    def _call_the_others(self) -> None:
        """Have the other ranks train along, from the same state."""
        if self.learner.replica.count == 1:
            return
        teacher = self.learner.teacher
        content = io.BytesIO()
        message = {
            "source": str(self.source),
            "config": self.config.model_dump_json(),
            "dataset": self.dataset.digest,
            "learner": self.learner.state(),
            "teacher": teacher.network.state_dict() if teacher is not None else None,
        }
        torch.save(message, content)
        distributed.send(distributed.Message.TRAIN, content.getvalue())

    def run(self) -> None:
        """Train until the last epoch, checkpointing on the way."""
        total = self.settings.epochs * self.learner.steps_per_epoch
        with progress_bar(self.name, total, self.learner.step) as bar:
            for epoch in range(self.learner.epoch, self.settings.epochs):
                self._run_epoch(epoch, lambda loss: bar.advance(f"loss {loss:.3f}"))
                self._finish_epoch(epoch)
                if "val_top1" in self.metrics.rows[-1]:
                    bar.advance(f"top-1 {self.metrics.rows[-1]['val_top1']:.1%}", by=0)
        self.checkpoint.save(self._state())

    def _run_epoch(self, epoch: int, report: Callable[[float], None]) -> None:
        started = time.monotonic()

        def after_step(loss: float) -> None:
            nonlocal started
            self.watch.check_loss(loss, self._where)
            if self.ema:
                self.ema.update(self.network, step=self.learner.step - 1)
            self.epoch_loss += loss / self.learner.steps_per_epoch
            self.epoch_seconds, started = self.epoch_seconds + time.monotonic() - started, time.monotonic()
            report(loss)
            # At an epoch's last step the checkpoint waits for the epoch's metrics.
            if self.learner.step % self.learner.steps_per_epoch:
                self.checkpoint.save_if_due(self._state)

        self.learner.run_epoch(epoch, after_step)

    def _finish_epoch(self, epoch: int) -> None:
        if not self.learner.agrees():
            raise UserError(
                f"after epoch {epoch + 1} of {self.name} the ranks hold different weights: run the same command again "
                "to go on from the last checkpoint"
            )
        self.watch.check_weights(self._where)
        row: dict[str, Any] = {"epoch": epoch, "train_loss": self.epoch_loss}
        if (epoch + 1) % self.settings.validate_epochs == 0 or epoch + 1 == self.settings.epochs:
            row["val_top1"] = self._val_top1(self.network)
            if self.ema:
                row["ema_top1"] = self._val_top1(self.ema.module)
        row |= {"lr": self.learner.optimizer.param_groups[0]["lr"], "seconds": round(self.epoch_seconds, 2)}
        self.metrics.add(**row)
        self.epoch_loss = self.epoch_seconds = 0.0
        self.metrics.write()
        self.checkpoint.save_if_due(self._state)

    def _val_top1(self, network: nn.Module) -> float:
        network.eval()
        return top1(network, self.dataset.val, EVAL_BATCH, self.config.deploy.resolution, self.device)

    def write_results(self) -> None:
        """Weights and what they reached."""
        network = self.ema.module if self.ema else self.network
        write_atomic(self.workspace.folder / "weights.safetensors", weights_content(network))
        self.metrics.write()
        last = self.metrics.rows[-1]
        count = self.learner.replica.count
        result = {
            "name": self.name,
            "architecture": str(self.source),
            "val_top1": last["ema_top1" if self.ema else "val_top1"],
            "epochs": self.settings.epochs,
            "resolution": self.settings.resolution_at(self.settings.epochs - 1, self.config.deploy.resolution),
            "width": self.config.deploy.width,
            "init": self.settings.init,
            **({"ranks": count} if count > 1 else {}),
        }
        write_json(self.workspace.folder / "result.json", result)
        if warning := chance_warning(result["val_top1"], len(self.dataset.val), len(self.dataset.classes)):
            console.print(f"[yellow]{self.name}: {warning}[/]", soft_wrap=True)

    @property
    def _where(self) -> str:
        """The last step in words."""
        step, of = self.learner.step, self.learner.steps_per_epoch
        return f"step {step} of {of * self.settings.epochs}, epoch {(step - 1) // of + 1}"

    def _state(self) -> dict[str, Any]:
        """What is saved: nothing that has diverged."""
        self.watch.check_weights(self._where)
        return self._content()

    def _content(self) -> dict[str, Any]:
        return {
            **self.learner.state(),
            "epoch_loss": self.epoch_loss,
            "epoch_seconds": self.epoch_seconds,
            "ema": self.ema.module.state_dict() if self.ema else None,
            "metrics": self.metrics.rows,
        }

    def _resume(self) -> None:
        state = self.checkpoint.load(self._content(), self._check)
        if state is None:
            return
        self.learner.load(state)
        self.epoch_loss, self.epoch_seconds = state["epoch_loss"], state["epoch_seconds"]
        if self.ema:
            self.ema.module.load_state_dict(state["ema"])
        self.metrics.rows = state["metrics"]

    def _check(self, state: Mapping[str, Any]) -> str | None:
        step, rows, of = state["step"], state["metrics"], self.learner.steps_per_epoch
        if not 0 < step <= of * self.settings.epochs:
            return f"is of step {step} of {of * self.settings.epochs}"
        if not are_rows(rows) or [row.get("epoch") for row in rows] != list(range(step // of)):
            return f"does not hold the metrics of {step // of} epochs"
        last = {"val_top1"} | ({"ema_top1"} if self.ema else set())
        if step == of * self.settings.epochs and not last <= rows[-1].keys():
            return "does not hold what the last epoch reached"
        return None


def digest_at_start(source: AnyNetwork, config: Config, num_classes: int) -> dict[str, str]:
    """What a user's network is before it is trained, as an input of the stage; nothing of others.

    Raises:
        UserError: it cannot be made, or not be trained on these classes.
    """
    if not isinstance(source, UserModel):
        return {}
    with output_as_remarks(), seeded(config.seed):
        return {"network": network_digest(source, build_trainable(source, config, num_classes))}


def _advice(settings: RetrainConfig) -> list[str]:
    advice = [f"Lower retrain.lr ({settings.lr:g})"]
    if settings.clip_grad is None:
        advice.append("or clip gradients: retrain.clip_grad=1")
    if settings.amp != "none":
        advice.append("or set retrain.amp=none")
    return advice
