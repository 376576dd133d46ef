"""Targets: what `--target` names. A target says where latency comes from and which files a network leaves as."""

from __future__ import annotations

import difflib
from collections.abc import Iterable
from pathlib import Path

import yaml
from pydantic import BaseModel, ConfigDict

from .devices import KINDS, DeviceKind
from .errors import LatencyError

_TARGETS_FOLDER = Path(__file__).parent / "targets"


class Target(BaseModel):
    """A place to deploy to.

    Attributes:
        name: what the user types.
        title: what reports call it.
        device_kind: the kind of device that can be measured, of `devices.KINDS`; None where only the table is there.
        table: the shipped table that prices blocks where no such device is attached.
        formats: names of the formats that networks are exported to; which there are, exporters know.
        measured_as: of one that has only its table: options of `fairnas profile` that measure such a device.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    name: str
    title: str
    device_kind: str | None = None
    table: str | None = None
    formats: tuple[str, ...]
    measured_as: str | None = None

    @property
    def kind(self) -> DeviceKind | None:
        """What is known of the kind of device."""
        return None if self.device_kind is None else KINDS[self.device_kind]

    @property
    def how_to_measure(self) -> str:
        """The command that makes a table of such a device, to be used with `--set latency.table=PATH`."""
        reached_by = self.kind.reached_by if self.kind else None
        options = self.measured_as or reached_by or f"--target {self.name}"
        return f"fairnas profile {options} --validate"


def list_targets() -> list[str]:
    """Names of all targets."""
    return sorted(path.stem for path in _TARGETS_FOLDER.glob("*.yaml"))


def get_target(name: str) -> Target:
    """A target by name.

    Raises:
        LatencyError: there is no such target, or no such device as it names; the nearest name is given.
    """
    known = list_targets()
    if name not in known:
        raise LatencyError(f"unknown target '{name}': {_nearest(name, known)}")
    target = Target.model_validate(yaml.safe_load((_TARGETS_FOLDER / f"{name}.yaml").read_text()))
    kind = target.device_kind
    if kind is not None and kind not in KINDS:
        raise LatencyError(f"target {name} is of an unknown kind of device, '{kind}': {_nearest(kind, KINDS)}")
    return target


def _nearest(name: str, known: Iterable[str]) -> str:
    close = difflib.get_close_matches(name, list(known), n=1)
    return f"did you mean '{close[0]}'?" if close else f"choose from {', '.join(known)}"
