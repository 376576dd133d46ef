"""Stage `tune/<name>`: quantisation-aware fine-tuning, for networks that lose too much when they become int8.

The batch norms are folded, weights and activations are rounded as the int8 file rounds them, and training goes on
with gradients that pass the rounding unchanged (Jacob et al. 2018, arXiv 1712.05877, section 3). Half of the loss is
the distance to the float network's answers. Ranges of activations are taken anew after each epoch and stay for the
next. What comes out is a float network whose weights stand being rounded.
"""

from __future__ import annotations

import copy
import hashlib
import time
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

from safetensors.torch import save
from timm.optim import create_optimizer_v2
from torch import Tensor, nn
from torch.nn import functional

from ...common.files import sha256_json, write_atomic
from ...common.text import shown
from ...exporters.fake_quantize import fake_quantized, restore, take_ranges
from ...models.folding import folded, load_folded
from ..console import Bar, console, progress_bar
from ..data import Dataset, batches_per_epoch, eval_batches, train_batches
from ..errors import UserError
from ..runs import stopping
from ..runs.checkpoint import Owner
from ..runs.run import Workspace
from ..training.distillation import Teacher
from ..training.diverged import Watch
from ..training.schedule import make_scheduler
from ..training.shared import Metrics, are_rows, to_device, top1, training_device
from .settings import TuneConfig

VERSION = 1
OUTPUTS = ("weights.safetensors", "metrics.jsonl")
EVAL_BATCH = 256
CALIBRATION_IMAGES = 256
CHECKPOINT_SECONDS = 30.0
TEACHER_SHARE = 0.5


def tune_for_int8(
    network: nn.Module,
    dataset: Dataset,
    settings: TuneConfig,
    workspace: Workspace,
    *,
    seed: int,
    resolution: int,
    exclude: Callable[[str], bool] = lambda name: False,
) -> nn.Module:
    """Fine-tune a trained network for int8, and write its weights and metrics.

    Nothing is selected on the validation images: the weights of the last epoch count. Without dropout and drop path.

    Args:
        network: as it was trained, with its batch norms; left as it is.
        dataset: `full_train` trains and sets the ranges, `val` reports.
        settings: how long and how fast; at least one epoch. `lr` is about the share of a channel's range that a weight
            moves in an update of Adam, whose first beta is `momentum`; an int8 step is 0.008.
        workspace: where to write; an unfinished tuning there is resumed.
        seed: of the order and the augmentation of the images.
        resolution: height and width of the images, in pixels.
        exclude: by a layer's name, whether it stays in float when the network is quantised.

    Returns:
        The folded network (`fairnas.models.folding.load_folded` makes it of the written weights), in float, on the
        CPU, in evaluation mode.

    Raises:
        UserError: what the network computes depends on its input, so that it cannot be simulated; or the training
            diverged.
    """
    try:
        tuning = _Tuning(network, dataset, settings, workspace, seed, resolution, exclude)
    except ValueError as error:
        raise UserError(f"quantisation-aware tuning: {error}") from None
    with stopping.between_steps():
        tuning.run()
    return tuning.finish()


class _Tuning:
    """The state of one tuning: everything that a checkpoint must hold."""

    def __init__(
        self,
        network: nn.Module,
        dataset: Dataset,
        settings: TuneConfig,
        workspace: Workspace,
        seed: int,
        resolution: int,
        exclude: Callable[[str], bool],
    ) -> None:
        self.dataset, self.settings, self.workspace = dataset, settings, workspace
        self.seed, self.resolution = seed, resolution
        self.device = training_device()
        self.original = network
        frozen = to_device(copy.deepcopy(network).requires_grad_(False).eval(), self.device)
        self.teacher = Teacher(frozen, TEACHER_SHARE, temperature=1.0)
        self.network = to_device(folded(network).requires_grad_(True), self.device)
        self.simulated = fake_quantized(self.network, exclude)
        self.optimizer = create_optimizer_v2(
            self.simulated,
            "adamw",
            lr=settings.lr,
            betas=(settings.momentum, 0.999),
            weight_decay=settings.weight_decay,
        )
        self.steps_per_epoch = batches_per_epoch(len(dataset.train), settings.batch_size)
        self.total = settings.epochs * self.steps_per_epoch
        self.scheduler = make_scheduler(
            self.optimizer, "cosine", epochs=settings.epochs, warmup_epochs=0, steps_per_epoch=self.steps_per_epoch
        )
        self.step = 0
        self.epoch_loss = self.epoch_seconds = 0.0
        self.metrics = Metrics(workspace.folder / "metrics.jsonl")
        self.key = sha256_json(
            [VERSION, settings.model_dump(mode="json"), seed, resolution, dataset.digest, _digest(network)]
        )
        self.watch = Watch("quantization-aware tuning", [f"Lower export.tune.lr ({settings.lr:g})"], self.simulated)
        owner = Owner(f"{workspace.owner.stage}/tuning", self.key)
        self.checkpoint = replace(workspace, owner=owner).checkpoint(CHECKPOINT_SECONDS)
        self._resume()

    def run(self) -> None:
        """Train until the last epoch, checkpointing on the way."""
        if not self.metrics.rows:
            self.metrics.add(epoch=0, float_top1=self._top1(self.teacher.network), int8_top1=self._int8_top1())
        with progress_bar("tuning for int8", self.total, self.step) as bar:
            bar.advance(f"top-1 as int8 {self.metrics.rows[-1]['int8_top1']:.1%}", by=0)
            for epoch in range(self.step // self.steps_per_epoch, self.settings.epochs):
                self._run_epoch(epoch, bar)
                bar.advance(f"top-1 as int8 {self.metrics.rows[-1]['int8_top1']:.1%}", by=0)
        self.checkpoint.save(self._state())

    def finish(self) -> nn.Module:
        """Write what came out, and give it back."""
        restore(self.network)
        network = load_folded(self.original, self.network.state_dict())
        write_atomic(self.workspace.folder / "weights.safetensors", _serialised(network))
        self.metrics.write()
        return network

    def _calibrate(self) -> None:
        """Take ranges as the exporter will: in the float network, from training images."""
        chosen = self.dataset.train.spread(CALIBRATION_IMAGES)
        batches = eval_batches(chosen, batch_size=self.settings.batch_size, resolution=self.resolution)
        take_ranges(self.simulated, (images.to(self.device) for images, _ in batches))

    def _run_epoch(self, epoch: int, bar: Bar) -> None:
        batches = train_batches(
            self.dataset.train,
            batch_size=self.settings.batch_size,
            resolution=self.resolution,
            augment=self.settings.augment,
            seed=self.seed,
            epoch=epoch,
            start=self.step % self.steps_per_epoch,
        )
        started = time.monotonic()
        for images, labels in batches:
            loss = self._train_step(images.to(self.device), labels.to(self.device))
            self.epoch_loss += loss / self.steps_per_epoch
            self.step += 1
            self.watch.check_loss(loss, self._where)
            self.epoch_seconds, started = self.epoch_seconds + time.monotonic() - started, time.monotonic()
            bar.advance(f"loss {loss:.3f}")
            # At an epoch's last step the checkpoint waits for the epoch's metrics.
            if self.step % self.steps_per_epoch:
                self.checkpoint.save_if_due(self._state)
        self.watch.check_weights(self._where)
        self.metrics.add(
            epoch=epoch + 1,
            train_loss=self.epoch_loss,
            int8_top1=self._int8_top1(),
            lr=self.optimizer.param_groups[0]["lr"],
            seconds=round(self.epoch_seconds, 2),
        )
        self.epoch_loss = self.epoch_seconds = 0.0
        self.metrics.write()
        self.checkpoint.save_if_due(self._state)

    def _train_step(self, images: Tensor, labels: Tensor) -> float:
        self.scheduler.step_update(self.step)
        self.optimizer.zero_grad(set_to_none=True)
        logits = self.simulated(images)
        loss = self.teacher.mixed(functional.cross_entropy(logits, labels), logits, images)
        loss.backward()
        self.optimizer.step()
        return float(loss.detach())

    def _int8_top1(self) -> float:
        self._calibrate()
        return self._top1(self.simulated)

    def _top1(self, network: nn.Module) -> float:
        return top1(network, self.dataset.val, EVAL_BATCH, self.resolution, self.device)

    @property
    def _where(self) -> str:
        """The last step in words."""
        return f"step {self.step} of {self.total}, epoch {(self.step - 1) // self.steps_per_epoch + 1}"

    def _state(self) -> dict[str, Any]:
        """What is saved: nothing that has diverged."""
        self.watch.check_weights(self._where)
        return self._content()

    def _content(self) -> dict[str, Any]:
        return {
            "key": self.key,
            "step": self.step,
            "epoch_loss": self.epoch_loss,
            "epoch_seconds": self.epoch_seconds,
            "simulated": self.simulated.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "metrics": self.metrics.rows,
        }

    def _resume(self) -> None:
        try:
            state = self.checkpoint.load(self._content(), self._check)
        except UserError as error:  # damaged, or of another network or other settings: tuning is short
            console.print(f"[yellow]        tuning begins again: {shown(error)}[/]", soft_wrap=True)
            self.checkpoint.forget()
            return
        if state is None:
            return
        self.step = state["step"]
        self.epoch_loss, self.epoch_seconds = state["epoch_loss"], state["epoch_seconds"]
        self.simulated.load_state_dict(state["simulated"])
        self.optimizer.load_state_dict(state["optimizer"])
        self.metrics.rows = state["metrics"]

    def _check(self, state: Mapping[str, Any]) -> str | None:
        step, rows = state["step"], state["metrics"]
        if not 0 < step <= self.total:
            return f"is of step {step} of {self.total}"
        if not are_rows(rows) or [row.get("epoch") for row in rows] != list(range(1 + step // self.steps_per_epoch)):
            return f"does not hold the metrics up to step {step}"
        return None


def _serialised(network: nn.Module) -> bytes:
    return save({name: tensor.cpu().contiguous() for name, tensor in network.state_dict().items()})


def _digest(network: nn.Module) -> str:
    return hashlib.sha256(_serialised(network)).hexdigest()
