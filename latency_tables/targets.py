"""Targets: what `--target` names. A target says where latency comes from and which files a network leaves as."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

import yaml
from pydantic import BaseModel, ConfigDict

from .device import Device
from .devices.host import HostDevice
from .errors import LatencyError

_TARGETS_FOLDER = Path(__file__).parent / "targets"


class Target(BaseModel):
    """A place to deploy to.

    Attributes:
        name: what the user types.
        title: what reports call it.
        device_kind: the kind of device it is; `host` can be measured.
        table: the shipped table that prices blocks, or None where blocks are measured first.
        formats: the formats that networks are exported to.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    name: str
    title: str
    device_kind: Literal["host", "phone"]
    table: str | None
    formats: tuple[Literal["onnx"], ...]


def list_targets() -> list[str]:
    """Names of all targets."""
    return sorted(path.stem for path in _TARGETS_FOLDER.glob("*.yaml"))


def get_target(name: str) -> Target:
    """A target by name.

    Raises:
        LatencyError: there is no such target.
    """
    if name not in list_targets():
        raise LatencyError(f"unknown target '{name}': choose from {', '.join(list_targets())}")
    return Target.model_validate(yaml.safe_load((_TARGETS_FOLDER / f"{name}.yaml").read_text()))


def open_device(target: Target) -> Device:
    """The device of a target, ready to be measured on.

    Raises:
        LatencyError: this kind of device cannot be measured.
    """
    if target.device_kind != "host":
        where = f"its latency comes from the table {target.table}" if target.table else "give a table"
        raise LatencyError(f"target {target.name} cannot be measured from here: {where}")
    return HostDevice()
