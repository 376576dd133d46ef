"""Targets: what `--target` names. A target says where latency comes from and which files a network leaves as."""

from __future__ import annotations

import difflib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import yaml
from pydantic import BaseModel, ConfigDict

from .errors import LatencyError

if TYPE_CHECKING:
    from .device import Device

_TARGETS_FOLDER = Path(__file__).parent / "targets"


class Target(BaseModel):
    """A place to deploy to.

    Attributes:
        name: what the user types.
        title: what reports call it.
        device_kind: the kind of device that can be measured, None where only the table is there.
        table: the shipped table that prices blocks where no such device is attached.
        formats: names of the formats that networks are exported to; which there are, exporters know.
        measured_as: of one that has only its table: options of `fairnas profile` that measure such a device.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    name: str
    title: str
    device_kind: Literal["host", "adb", "ssh", "browser", "cuda"] | None = None
    table: str | None = None
    formats: tuple[str, ...]
    measured_as: str | None = None

    @property
    def how_to_measure(self) -> str:
        """The command that makes a table of such a device, to be used with `--set latency.table=PATH`."""
        own = {"adb": "--target pixel", "ssh": "--target board --host user@address"}
        options = self.measured_as or own.get(self.device_kind or "", f"--target {self.name}")
        return f"fairnas profile {options} --validate"


@dataclass(frozen=True, slots=True)
class DeviceOptions:
    """Which device of its kind, and how it measures; None is the device's own choice.

    Attributes:
        serial: of the phone, where several are attached.
        host: of the board: `user@address`, or a name from the ssh configuration.
        threads: that a network runs on.
        cpus: cores to measure on: `big`, `little`, or numbers such as `4-7`.
        ort_aar: an ONNX Runtime AAR for Android, instead of the pinned one.
        listen: the address that the browser page is served on.
        port: of that page.
        announce: is told, in lines for people, what somebody has to do at the device.
    """

    serial: str | None = None
    host: str | None = None
    threads: int = 1
    cpus: str | None = None
    ort_aar: Path | None = None
    listen: str = "127.0.0.1"
    port: int = 8123
    announce: Callable[[str], None] = print


def list_targets() -> list[str]:
    """Names of all targets."""
    return sorted(path.stem for path in _TARGETS_FOLDER.glob("*.yaml"))


def get_target(name: str) -> Target:
    """A target by name.

    Raises:
        LatencyError: there is no such target; the nearest name is given.
    """
    known = list_targets()
    if name not in known:
        close = difflib.get_close_matches(name, known, n=1)
        raise LatencyError(
            f"unknown target '{name}': "
            + (f"did you mean '{close[0]}'?" if close else f"choose from {', '.join(known)}")
        )
    return Target.model_validate(yaml.safe_load((_TARGETS_FOLDER / f"{name}.yaml").read_text()))


_TAKES = {
    "host": (),
    "adb": ("serial", "threads", "cpus", "ort_aar"),
    "ssh": ("host", "threads", "cpus"),
    "browser": ("threads", "listen", "port"),
    "cuda": (),
    None: (),
}


def check_options(target: Target, options: DeviceOptions) -> None:
    """Refuse an option that the target's device has no use for: what was measured would not be what was asked for.

    Raises:
        LatencyError: there is one.
    """
    for option in ("serial", "host", "threads", "cpus", "ort_aar"):
        value = getattr(options, option)
        if value == getattr(DeviceOptions(), option) or option in _TAKES[target.device_kind]:
            continue
        if target.device_kind is None:
            raise LatencyError(
                f"target {target.name} has a table and no device, so --{option.replace('_', '-')} says nothing: "
                f"to measure one, {target.how_to_measure}"
            )
        reason = (
            "runs on one thread"
            if (target.device_kind, option) == ("host", "threads")
            else f"takes no --{option.replace('_', '-')}"
        )
        raise LatencyError(f"target {target.name} {reason}: leave --{option.replace('_', '-')} {value} away")


def open_device(target: Target, options: DeviceOptions | None = None) -> Device | None:
    """The device of a target, not yet connected to; None where there is none and the target's table stands in.

    Raises:
        LatencyError: the device lacks an option or has no use for one, or more than one is attached.
    """
    options = options or DeviceOptions()
    check_options(target, options)
    match target.device_kind:
        case "host":
            from .devices.host import HostDevice

            return HostDevice()
        case "adb":
            from .devices.adb import AdbDevice
            from .devices.phones import attached_phones

            if target.table and options.serial is None and not attached_phones():
                return None
            return AdbDevice(options.serial, options.threads, options.cpus, options.ort_aar, progress=options.announce)
        case "ssh":
            from .devices.ssh import SshDevice

            if not options.host:
                raise LatencyError(f"target {target.name} needs to know where the board is: add --host user@address")
            return SshDevice(options.host, options.threads, options.cpus, progress=options.announce)
        case "browser":
            from .devices.browser.device import BrowserDevice

            return BrowserDevice(
                options.port,
                options.listen,
                options.threads,
                announce=lambda url: options.announce(f"open this in the browser of the device: {url}"),
            )
        case "cuda":
            from .devices.cuda.device import CudaDevice

            return CudaDevice()
        case None:
            return None
