"""What all stages of a run share: its configuration, folder, images, target and device."""

from __future__ import annotations

from dataclasses import fields
from functools import cached_property
from typing import cast

from ...common.files import sha256_json
from ...common.text import shown
from ...latency_tables import Device, DeviceOptions, LatencyTable, Predictor, Rounds, get_target, open_device
from ...models import AnySupernet, Architecture, Block, SearchSpace, Supernet, Task, get_space
from ..config import Config
from ..console import announce, console
from ..data import Dataset, load_dataset
from ..errors import UserError
from ..export.target_formats import check_formats
from ..runs.run import Run
from ..supernet import train as train_supernet


class Context:
    """What a stage works with.

    Args:
        config: what to do.
        run: the open run folder.
        dataset: the checked images.
    """

    def __init__(self, config: Config, run: Run, dataset: Dataset) -> None:
        self.config, self.run, self.dataset = config, run, dataset
        self.target = get_target(config.target)
        check_formats(self.target)
        self.proxy_space = config.proxy_space
        run.settings = config.to_yaml()

    @cached_property
    def deploy_space(self) -> SearchSpace:
        """The space at the width that is deployed.

        Raises:
            UserError: it is a benchmark's, whose networks are not deployed.
        """
        try:
            return get_space(self.config.space).scaled(self.config.deploy.width)
        except ValueError as error:
            raise UserError(str(error)) from None

    @property
    def task(self) -> Task:
        """Of networks as they are deployed."""
        return Task(self.config.deploy.resolution, len(self.dataset.classes))

    def blocks(self, architecture: Architecture, num_classes: int | None = None) -> tuple[Block, ...]:
        """Of a network as it is deployed."""
        space = get_space(architecture.space).scaled(self.config.deploy.width)
        return space.blocks(architecture, self.config.deploy.resolution, num_classes or len(self.dataset.classes))

    @cached_property
    def device(self) -> Device | None:
        """The target's device; None where there is none."""
        given = self.config.latency.model_dump(include={field.name for field in fields(DeviceOptions)})
        device = open_device(self.target, DeviceOptions(**given, announce=announce))
        if device is None and self.target.device_kind:
            console.print(f"[yellow]no device of target {self.target.name} is attached: nothing is measured there[/]")
        return device

    @property
    def rounds(self) -> Rounds:
        """How often blocks and picks are timed."""
        most = self.config.latency.rounds
        return Rounds(least=min(20, most), most=most)

    def device_digest(self) -> str:
        """What must be unchanged for measurements to be reused."""
        if self.device is None:
            return "none"
        if self.target.kind is not None and self.target.kind.needs_people:
            return self.device.kind
        self.device.prepare()
        return sha256_json(self.device.fingerprint())

    def predictor(self, stage: str) -> Predictor:
        """By the table that a stage left."""
        return Predictor(LatencyTable.load(self.run.folder / stage / "table.json"))

    @property
    def mobile_supernet(self) -> Supernet:
        """The supernet of a space whose networks are trained and deployed."""
        return cast(Supernet, self.trained_supernet)

    @cached_property
    def trained_supernet(self) -> AnySupernet:
        """With the weights that stage `supernet` left."""
        weights = (self.run.folder / "supernet" / "weights.safetensors").read_bytes()
        return train_supernet.load_supernet(weights, self.proxy_space, len(self.dataset.classes))


def open_dataset(config: Config) -> Dataset:
    """Check and load the images before anything is written."""
    dataset = load_dataset(
        config.data.source, heldout=config.data.heldout, seed=config.seed, train_images=config.data.train_images
    )
    sizes = f"{len(dataset.train):,} to train, {len(dataset.heldout):,} held out, {len(dataset.val):,} to validate"
    console.print(f"images   {shown(dataset.name)}: {len(dataset.classes)} classes, {sizes}")
    if dataset.demonstration:
        console.print("[yellow]         a demonstration set: bring your own images with --data FOLDER[/]")
    for note in dataset.notes:
        console.print(f"[yellow]         {shown(note)}[/]", soft_wrap=True)
    return dataset
