"""Any Android phone with USB debugging: no app, no root."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import time
from collections.abc import Mapping, Sequence
from importlib.util import find_spec
from pathlib import Path

from ..device import Fingerprint
from ..errors import DeviceLost, LatencyError
from ..runner.bundle import Bundle, build_bundle
from ..runner.packages import ProgressLine
from .linux import LinuxSystem
from .shell import PATIENCE_S, ShellDevice, ShellTransport

# Writable, and programs may run there, for USB debugging on every phone.
_FOLDER = "/data/local/tmp/fairnas"
# What the libraries of ONNX Runtime for Android ask for: Android 7.
_LEAST_API = 24
_START_S = 30.0
_ON_ITS_WAY = {"authorizing", "connecting"}


class AdbDevice(ShellDevice):
    """A phone through `adb`.

    Attributes:
        id: after the phone's model, such as `pixel-8`; `phone` until it is prepared.
    """

    kind = "adb"
    _transport: AdbTransport

    def __init__(
        self,
        serial: str | None = None,
        threads: int = 1,
        cpus: str | None = None,
        ort_aar: Path | None = None,
        progress: ProgressLine | None = None,
    ) -> None:
        """Connects to nothing yet.

        Args:
            serial: as `adb devices` lists it; not needed while one phone is attached. `HOST:PORT` is connected to.
            threads: of ONNX Runtime, within one model.
            cpus: the cores to measure on: `big` (the default), `little`, or numbers such as `4-7` or `4,5`.
            ort_aar: ONNX Runtime for Android to use instead of the pinned one.
            progress: called with a line for people before each long step.

        Raises:
            LatencyError: there is no `adb`.
        """
        super().__init__(AdbTransport(serial), threads, cpus)
        self.id = "phone"
        self._ort_aar, self._progress = ort_aar, progress

    def reverse(self, port: int) -> None:
        """Make this machine's port the phone's own `localhost:port`, which its browser takes for a secure context.

        Args:
            port: of a server on this machine; forwarded until `close`.

        Raises:
            LatencyError: the phone refused it, or something has to be done first.
            DeviceLost: there is no phone.
        """
        self._transport.connect()
        self._transport.reverse(port)

    def _describe(self, system: LinuxSystem) -> Fingerprint:
        properties = _properties(self._transport.ask("getprop"))
        maker, model = (properties.get(f"ro.product.{key}", "") for key in ("manufacturer", "model"))
        name = model if model.lower().startswith(maker.lower()) else f"{maker} {model}"
        self.id = re.sub(r"[^a-z0-9]+", "-", model.lower()).strip("-") or "phone"
        soc = " ".join(filter(None, (properties.get(f"ro.soc.{key}") for key in ("manufacturer", "model"))))
        return {
            "name": name.strip() or "Android phone",
            "soc": soc or properties.get("ro.board.platform") or properties.get("ro.hardware", "not told"),
            "os": f"Android {properties.get('ro.build.version.release')}, {properties.get('ro.build.fingerprint')}",
        }

    def _bundle(self, system: LinuxSystem) -> Bundle:
        if system.machine != "aarch64":
            raise LatencyError(f"{self._transport.name} is {system.machine}: only 64-bit ARM phones can be measured")
        if not self._transport.ask("[ ! -e /system/bin/linker64 ] || echo bionic"):
            # Linux that speaks adb: it need not have a C library of its own.
            return build_bundle("aarch64", with_loader=True, progress=self._progress)
        level = next(iter(self._transport.ask("getprop ro.build.version.sdk")), "")
        if level.isdecimal() and int(level) < _LEAST_API:
            raise LatencyError(f"{self._transport.name} has Android API level {level}: ONNX Runtime needs {_LEAST_API}")
        return build_bundle("arm64-v8a", ort_aar=self._ort_aar, progress=self._progress)

    def _folder(self) -> str:
        return _FOLDER


class AdbTransport(ShellTransport):
    """A phone's shell; see `ShellTransport`."""

    def __init__(self, serial: str | None) -> None:
        super().__init__(f"phone {serial}" if serial else "phone")
        self._adb = find_adb()
        self._serial = serial or os.environ.get("ANDROID_SERIAL")
        self._connected = False
        self._reversed: set[int] = set()

    def connect(self) -> bool:
        """See `ShellTransport.connect`."""
        if self._connected and self.is_alive():
            return False
        broken, self._connected = self._connected, False
        self._call("start-server")
        if self._serial and ":" in self._serial and (broken or self._attached().get(self._serial) != "device"):
            # A network connection that broke does not come back by itself, and adb may not have noticed yet.
            self._call("disconnect", self._serial)
            self._call("connect", self._serial)
        self._serial = choose_phone(self._attached_for_good(), self._serial)
        self.name = f"phone {self._serial}"
        self._connected = True
        for port in self._reversed:
            self.reverse(port)
        return True

    def is_alive(self) -> bool:
        """See `ShellTransport.is_alive`. The server goes on calling a phone a device whose network is gone."""
        return (
            self._call("-s", str(self._serial), "shell", "echo alive", patience_s=PATIENCE_S).stdout.strip() == b"alive"
        )

    def push(self, files: Sequence[Path], folder: str) -> None:
        """See `Transport.push`."""
        self._copy([*self._phone(), "push", *map(str, files), f"{folder}/"], folder)

    def pull(self, files: Sequence[str], folder: Path) -> None:
        """See `Transport.pull`."""
        self._copy([*self._phone(), "pull", *files, f"{folder}/"], files[0])

    def reverse(self, port: int) -> None:
        """See `AdbDevice.reverse`."""
        if reason := self._refusal([*self._phone(), "reverse", f"tcp:{port}", f"tcp:{port}"]):
            raise LatencyError(f"{self.name} does not forward port {port} to this machine: {reason}")
        self._reversed.add(port)

    def close(self) -> None:
        """End what still runs through this connection; the server and other connections stay."""
        super().close()
        for port in self._reversed:
            self._call("-s", str(self._serial), "reverse", "--remove", f"tcp:{port}")
        self._reversed.clear()
        self._connected = False

    def _client(self, command: str) -> list[str]:
        return [*self._phone(), "shell", "-n", "-T", command]

    def _phone(self) -> list[str]:
        if not self._connected:
            raise DeviceLost(f"{self.name} is not connected")
        return [self._adb, "-s", str(self._serial)]

    def _attached_for_good(self) -> dict[str, str]:
        """What is attached once nothing is on its way any more."""
        deadline = time.monotonic() + PATIENCE_S
        while (attached := self._attached()) and _ON_ITS_WAY & set(attached.values()) and time.monotonic() < deadline:
            time.sleep(0.2)
        return attached

    def _attached(self) -> dict[str, str]:
        """States by serial."""
        done = self._call("devices")
        listed = done.stdout.decode(errors="replace")
        if done.returncode:
            reason = adb_reason(listed + done.stderr.decode(errors="replace"))
            raise DeviceLost(f"adb does not tell which phones are attached: {reason}")
        return dict(line.split("\t", 1) for line in listed.splitlines() if "\t" in line)

    def _call(self, *arguments: str, patience_s: float = _START_S) -> subprocess.CompletedProcess[bytes]:
        """Run adb to its end; what took too long has printed nothing."""
        argv = [self._adb, *arguments]
        try:
            return subprocess.run(argv, stdin=subprocess.DEVNULL, capture_output=True, timeout=patience_s, check=False)
        except subprocess.TimeoutExpired:
            return subprocess.CompletedProcess(argv, 1, b"", b"it did not answer")


def find_adb() -> str:
    """The adb on PATH, else the one that PyPI's adbutils carries.

    Raises:
        LatencyError: there is neither.
    """
    if found := shutil.which("adb"):
        return found
    package = find_spec("adbutils")
    for folder in (package.submodule_search_locations or ()) if package else ():
        if found := shutil.which("adb", path=str(Path(folder) / "binaries")):
            return found
    raise LatencyError("there is no adb here: install fairnas[adb], or Android's platform tools and put adb on PATH")


def adb_reason(said: str) -> str:
    """Why adb failed, of all that it printed: two versions that end each other's server, or its last word."""
    lines = [line.strip() for line in said.splitlines() if line.strip()]
    clash = next((line for line in lines if "doesn't match this client" in line), None)
    if clash is not None:
        return f"{clash.partition(';')[0]}: put the server's adb first on PATH, or end it with `adb kill-server`"
    reason = lines[-1] if lines else "it ended without a word"
    server = os.environ.get("ADB_SERVER_SOCKET")
    return f"{reason} (ADB_SERVER_SOCKET is {server})" if server else reason


def choose_phone(attached: Mapping[str, str], serial: str | None) -> str:
    """Which phone is meant, if it is ready.

    Args:
        attached: states by serial, as `adb devices` lists them.
        serial: of the phone that the user named.

    Raises:
        LatencyError: somebody has to do something first; the line says what.
        DeviceLost: there is no such phone at the moment.
    """
    if serial is None:
        if not attached:
            raise DeviceLost(
                "no phone is attached: switch on USB debugging (Settings, Developer options) and plug it in, "
                "or name one on the network with --serial HOST:PORT"
            )
        if len(attached) > 1:
            phones = ", ".join(f"{name} ({state.split(' ')[0]})" for name, state in sorted(attached.items()))
            raise LatencyError(f"{len(attached)} phones are attached, {phones}: choose one with --serial")
        serial = next(iter(attached))
    state = attached.get(serial)
    if state == "device":
        return serial
    if state is None:
        listed = ", ".join(sorted(attached)) or "none"
        todo = "switch on its wireless debugging and check the network" if ":" in serial else "plug it in"
        raise DeviceLost(f"phone {serial} is not attached (attached: {listed}): {todo}")
    if state == "unauthorized":
        raise LatencyError(
            f"phone {serial} does not trust this computer yet: unlock it and accept 'Allow USB debugging?', then again"
        )
    if state == "offline":
        raise DeviceLost(f"phone {serial} is offline: plug it out and in again, or `adb reconnect offline`")
    if state.startswith("no permissions"):
        raise LatencyError(
            f"this user may not open phone {serial} on USB: install your system's udev rules for Android "
            "(Debian: android-sdk-platform-tools-common), join the group plugdev, and plug it out and in again"
        )
    raise LatencyError(f"phone {serial} is in state '{state}': start Android on it, then again")


def _properties(lines: list[str]) -> dict[str, str]:
    """Android's properties from `[name]: [value]` lines."""
    matches = (re.fullmatch(r"\[(.*?)\]: \[(.*)\]", line) for line in lines)
    return {match[1]: match[2] for match in matches if match}
