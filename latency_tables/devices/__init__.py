"""Kinds of devices: how each is opened, which options it takes, and what people call it.

A new one is a class in a file of this folder, which does what `Device` says, and a line of `KINDS`.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, fields
from pathlib import Path
from typing import TYPE_CHECKING

from ..errors import LatencyError

if TYPE_CHECKING:
    from ..device import Device
    from ..targets import Target


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


_HARMLESS = ("listen", "port", "announce")  # they change nothing of what is measured


@dataclass(frozen=True, slots=True)
class DeviceKind:
    """A kind of device, as far as it is known before one is opened.

    Attributes:
        open: the device of a target, not yet connected to; None where none is there and the target's table stands in.
            What is slow to import is imported in there.
        measured_by: what measures it, for people.
        takes: the options it has a use for, of those that decide what is measured.
        one_thread: it measures on one thread, whatever is asked for.
        reached_by: options of `fairnas profile` that reach such a device; None where the target's name says it all.
        needs_people: whether it tells who it is only after somebody did something there.
    """

    open: Callable[[Target, DeviceOptions], Device | None]
    measured_by: str
    takes: tuple[str, ...] = ()
    one_thread: bool = False
    reached_by: str | None = None
    needs_people: bool = False


def check_options(target: Target, options: DeviceOptions) -> None:
    """Refuse an option that the target's device has no use for: what was measured would not be what was asked for.

    Raises:
        LatencyError: there is one.
    """
    kind = target.kind
    for option in fields(DeviceOptions):
        value = getattr(options, option.name)
        is_taken = option.name in (*_HARMLESS, *(kind.takes if kind else ()))
        if is_taken or value == option.default:
            continue
        flag = f"--{option.name.replace('_', '-')}"
        if kind is None:
            raise LatencyError(
                f"target {target.name} has a table and no device, so {flag} says nothing: "
                f"to measure one, {target.how_to_measure}"
            )
        reason = "runs on one thread" if kind.one_thread and option.name == "threads" else f"takes no {flag}"
        raise LatencyError(f"target {target.name} {reason}: leave {flag} {value} away")


def open_device(target: Target, options: DeviceOptions | None = None) -> Device | None:
    """The device of a target, not yet connected to; None where there is none and the target's table stands in.

    Raises:
        LatencyError: the device lacks an option or has no use for one, or more than one is attached.
    """
    options = options or DeviceOptions()
    check_options(target, options)
    return target.kind.open(target, options) if target.kind else None


def _host(target: Target, options: DeviceOptions) -> Device:
    from .host import HostDevice

    return HostDevice()


def _adb(target: Target, options: DeviceOptions) -> Device | None:
    from .adb import AdbDevice
    from .phones import attached_phones

    if target.table and options.serial is None and not attached_phones():
        return None
    return AdbDevice(options.serial, options.threads, options.cpus, options.ort_aar, progress=options.announce)


def _ssh(target: Target, options: DeviceOptions) -> Device:
    from .ssh import SshDevice

    if not options.host:
        raise LatencyError(f"target {target.name} needs to know where the board is: add --host user@address")
    return SshDevice(options.host, options.threads, options.cpus, progress=options.announce)


def _browser(target: Target, options: DeviceOptions) -> Device:
    from .browser.device import BrowserDevice

    return BrowserDevice(
        options.port,
        options.listen,
        options.threads,
        announce=lambda url: options.announce(f"open this in the browser of the device: {url}"),
    )


def _cuda(target: Target, options: DeviceOptions) -> Device:
    from .cuda.device import CudaDevice

    return CudaDevice()


KINDS: dict[str, DeviceKind] = {
    "host": DeviceKind(_host, "ONNX Runtime, here", one_thread=True),
    "adb": DeviceKind(
        _adb, "adb (USB debugging)", ("serial", "threads", "cpus", "ort_aar"), reached_by="--target pixel"
    ),
    "ssh": DeviceKind(_ssh, "ssh", ("host", "threads", "cpus"), reached_by="--target board --host user@address"),
    "browser": DeviceKind(_browser, "a browser that opens a page", ("threads",), needs_people=True),
    "cuda": DeviceKind(_cuda, "PyTorch, ONNX Runtime or TensorRT, here"),
}
"""By the name that targets and `Device.kind` give them."""
