"""Devices that are reached by a client program (adb, ssh) which runs commands in their shell."""

from __future__ import annotations

import math
import os
import re
import selectors
import shlex
import subprocess
import tempfile
from abc import ABC, abstractmethod
from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from pathlib import Path
from typing import IO

import numpy as np

from ..device import Conditions, Fingerprint, OnnxModel, Sample
from ..errors import DeviceLost, LatencyError
from ..runner.bundle import Bundle
from ..runner.client import NativeRunner
from .linux import LinuxSystem, format_cores, read_conditions

PATIENCE_S = 10.0
"""How long a device may take to show that it is there."""

# Silence is normal while a device loads models; a link that died silently is noticed by asking.
_SILENCE_S = 15.0
_END = "fairnas: the whole answer arrived"


class ShellTransport(ABC):
    """See `Transport`: a client program on this machine for each command there.

    Attributes:
        name: the device as error lines name it, such as `phone 10.0.0.7:5555`.
    """

    def __init__(self, name: str) -> None:
        self.name = name
        self._clients: set[subprocess.Popen[bytes]] = set()

    @abstractmethod
    def connect(self) -> bool:
        """Connect if there is no working connection.

        Returns:
            Whether it had to: what ran on the device before is gone then.

        Raises:
            LatencyError: somebody has to do something first; the line says what.
            DeviceLost: the device is not there at the moment.
        """

    @abstractmethod
    def is_alive(self) -> bool:
        """Whether the device answers; at once or after `PATIENCE_S`."""

    @abstractmethod
    def push(self, files: Sequence[Path], folder: str) -> None:
        """See `Transport.push`."""

    @abstractmethod
    def pull(self, files: Sequence[str], folder: Path) -> None:
        """See `Transport.pull`."""

    @abstractmethod
    def _client(self, command: str) -> list[str]:
        """The local program that runs a command line in the device's shell."""

    def run(self, argv: Sequence[str]) -> Iterator[str]:
        """See `Transport.run`."""
        code, said = yield from self._stream(self._client(shlex.join(argv)))
        # Programs on the device may fail for reasons of their own, with any exit code.
        if code and not self.is_alive():
            raise self._gone(said)

    def ask(self, script: str) -> list[str]:
        """Run a shell script of ours on the device, and give the lines that it printed.

        Raises:
            DeviceLost: the answer did not arrive to its end.
        """
        lines = list(self.run(["sh", "-c", f"{script}\necho {shlex.quote(_END)}"]))
        if not lines or lines.pop() != _END:
            raise self._gone("it stopped answering")
        return lines

    def close(self) -> None:
        """End what still runs through this connection."""
        for client in list(self._clients):
            self._end(client)

    def _copy(self, argv: list[str], folder: str) -> None:
        """Run a client program that copies; `folder` is where on the device."""
        if reason := self._refusal(argv):
            raise LatencyError(f"{self.name} does not copy files, {folder}: {reason}{self._room(folder)}")

    def _refusal(self, argv: list[str]) -> str:
        """Run a client program to its end: why it did not do what it should; nothing if it did.

        Raises:
            DeviceLost: the device does not answer.
        """
        printed: list[str] = []
        stream = self._stream(argv)
        try:
            while True:
                printed.append(next(stream))
        except StopIteration as end:
            code, said = end.value
        if code and not self.is_alive():
            raise self._gone(said)
        # adb tells of some failures among what it prints.
        told = said or one_line("\n".join(line for line in printed if "error" in line))
        return told or f"exit code {code}" if code else ""

    def _room(self, folder: str) -> str:
        """How much is free in a folder on the device, as the end of an error line."""
        answer = self.ask(f"df -k {shlex.quote(folder)} 2>/dev/null | tail -n 1")
        match = re.search(r"(\d+)\s+\d+%", " ".join(answer))
        return f"; {int(match[1]) / 1024:.1f} MB are free there" if match else ""

    def _stream(self, argv: list[str]) -> Generator[str, None, tuple[int, str]]:
        """Lines that a client program prints; its exit code and what it said of errors at the end.

        Raises:
            DeviceLost: it was silent, and the device does not answer.
        """
        with tempfile.TemporaryFile() as errors:
            client = subprocess.Popen(argv, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=errors)
            self._clients.add(client)
            try:
                assert client.stdout
                for line in _lines(client.stdout, self._check_in_silence):
                    yield line.decode(errors="replace").rstrip("\r")
                code = client.wait()
            finally:
                self._end(client)
            errors.seek(0)
            return code, one_line(errors.read().decode(errors="replace"))

    def _check_in_silence(self) -> None:
        if not self.is_alive():
            raise self._gone("it stopped answering")

    def _end(self, client: subprocess.Popen[bytes]) -> None:
        client.kill()
        client.wait()
        if client.stdout:
            client.stdout.close()
        self._clients.discard(client)

    def _gone(self, reason: str) -> DeviceLost:
        return DeviceLost(f"{self.name} went away{f': {reason}' if reason else ''}")


class ShellDevice(ABC):
    """What phones and boards have in common; see `Device`."""

    id: str
    kind: str

    def __init__(self, transport: ShellTransport, threads: int, cpus: str | None) -> None:
        if threads < 1:
            raise LatencyError(f"cannot measure with {threads} threads: ask for at least 1")
        self._transport = transport
        self._threads = threads
        self._wanted_cpus = cpus
        self._cpus: tuple[int, ...] = ()
        self._runner: NativeRunner | None = None
        self._fingerprint: Fingerprint = {}

    @abstractmethod
    def _describe(self, system: LinuxSystem) -> Fingerprint:
        """At least `name` and `os`."""

    @abstractmethod
    def _bundle(self, system: LinuxSystem) -> Bundle:
        """What runs on this device.

        Raises:
            LatencyError: nothing of ours does.
        """

    @abstractmethod
    def _folder(self) -> str:
        """Where our files lie on the device."""

    def prepare(self) -> None:
        """See `Device.prepare`."""
        if not self._transport.connect() and self._runner:
            return
        system = LinuxSystem.read(self._transport.ask)
        self._cpus = system.choose_cores(self._wanted_cpus, self._threads)
        runner = NativeRunner(self._transport, self._bundle(system), self._folder(), self._threads, self._cpus)
        runner.install()
        hello = runner.hello()
        threads = f"{self._threads} thread{'s' if self._threads > 1 else ''}"
        self._fingerprint = {
            **system.fingerprint(),
            **self._describe(system),
            "runtime": f"ONNX Runtime {hello['ort']}, CPUExecutionProvider, {threads}",
            "threads": self._threads,
            "warm_runs": hello["warm_runs"],
            # It is measured there, and comes out a little differently each time.
            "clock_us": 10.0 ** math.ceil(math.log10(hello["clock_ns"])) / 1000,
            "affinity": format_cores(self._cpus),
        }
        self._runner = runner

    def fingerprint(self) -> Fingerprint:
        """See `Device.fingerprint`; as it was when the device was connected."""
        self._prepared()
        return dict(self._fingerprint)

    def outputs(self, models: Mapping[str, OnnxModel]) -> dict[str, np.ndarray]:
        """See `Device.outputs`."""
        return self._prepared().outputs(models)

    def measure(self, models: Mapping[str, OnnxModel], rounds: range) -> Iterator[Sample]:
        """See `Device.measure`."""
        return self._prepared().measure(models, rounds)

    def conditions(self) -> Conditions:
        """See `Device.conditions`."""
        self._prepared()
        return read_conditions(self._transport.ask, self._cpus)

    def close(self) -> None:
        """See `Device.close`; what it brought stays on the device for the next time."""
        self._transport.close()
        self._runner = None

    def _prepared(self) -> NativeRunner:
        if not self._runner:
            raise LatencyError(f"{self._transport.name} is not connected: call prepare() first")
        return self._runner


def one_line(text: str) -> str:
    """What a client program said, for the end of an error line."""
    return "; ".join(line.strip() for line in text.splitlines() if line.strip()).removeprefix("error: ")


def _lines(stream: IO[bytes], in_silence: Callable[[], None]) -> Iterator[bytes]:
    """Lines as they come; calls a function whenever nothing came for a while."""
    rest = b""
    with selectors.DefaultSelector() as ready:
        ready.register(stream, selectors.EVENT_READ)
        while True:
            if not ready.select(_SILENCE_S):
                in_silence()
                continue
            chunk = os.read(stream.fileno(), 65536)
            if not chunk:
                break
            *whole, rest = (rest + chunk).split(b"\n")
            yield from whole
    if rest:
        yield rest
