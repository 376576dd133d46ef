"""Any 64-bit Linux board that ssh reaches with a key: a Raspberry Pi, a Jetson's processor, a server."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import tempfile
from collections.abc import Sequence
from pathlib import Path

from ..device import Fingerprint
from ..errors import DeviceLost, LatencyError
from ..runner.bundle import Bundle, build_bundle
from ..runner.packages import ProgressLine
from .linux import LinuxSystem
from .shell import PATIENCE_S, ShellDevice, ShellTransport, one_line

_MACHINES = ("aarch64", "x86_64")
# What the wheels of ONNX Runtime are built for (manylinux_2_28).
_LEAST_GLIBC = (2, 28)
_READY = "fairnas: connected"
_CONNECT_S = 5
# A cut cable ends a connection after two unanswered questions.
_ALIVE_S = 2


class SshDevice(ShellDevice):
    """A board through the system's `ssh` and `scp`, with the user's own configuration, keys and agent."""

    kind = "ssh"

    def __init__(
        self,
        host: str,
        threads: int = 1,
        cpus: str | None = None,
        config: Path | None = None,
        progress: ProgressLine | None = None,
    ) -> None:
        """Connects to nothing yet.

        Args:
            host: as ssh takes it: an alias of `~/.ssh/config`, `HOST` or `USER@HOST`.
            threads: of ONNX Runtime, within one model.
            cpus: the cores to measure on: `big` (the default), `little`, or numbers such as `4-7` or `4,5`.
            config: ssh's configuration instead of the user's; by default what FAIRNAS_SSH_CONFIG names.
            progress: called with a line for people before each long step.

        Raises:
            LatencyError: this is no host, or there is no ssh.
        """
        super().__init__(SshTransport(host, config), threads, cpus)
        self.id = re.sub(r"[^A-Za-z0-9.]+", "-", host).strip("-.") or "board"
        self._progress = progress

    def _describe(self, system: LinuxSystem) -> Fingerprint:
        name = system.model or system.processor or f"{system.machine} board"
        return {"name": name, "os": f"{system.title or 'Linux'}, kernel {system.kernel}"}

    def _bundle(self, system: LinuxSystem) -> Bundle:
        if system.machine not in _MACHINES:
            raise LatencyError(
                f"{self._transport.name} is {system.machine}: only {' and '.join(_MACHINES)} are measured"
            )
        return build_bundle(system.machine, with_loader=not self._has_libraries(), progress=self._progress)

    def _has_libraries(self) -> bool:
        """Whether the board has glibc as ONNX Runtime wants it, and the C++ library."""
        answer = self._transport.ask(
            "getconf GNU_LIBC_VERSION 2>/dev/null || echo none; "
            "ls -d /usr/lib/libstdc++.so.6 /usr/lib64/libstdc++.so.6 /usr/lib/*/libstdc++.so.6 2>/dev/null"
        )
        version = re.fullmatch(r"glibc (\d+)\.(\d+).*", answer[0])
        return bool(version and (int(version[1]), int(version[2])) >= _LEAST_GLIBC and answer[1:])

    def _folder(self) -> str:
        cache = self._transport.ask('echo "${XDG_CACHE_HOME:-$HOME/.cache}"')[0]
        return f"{cache}/fairnas"


class SshTransport(ShellTransport):
    """A board's shell; see `ShellTransport`. All commands share one connection, which makes each of them quick."""

    def __init__(self, host: str, config: Path | None) -> None:
        super().__init__(f"board {host}")
        # Ssh would take a leading dash for an option.
        if not host or host.startswith("-") or re.search(r"\s", host):
            raise LatencyError(f"'{host}' is no host for ssh: give HOST, USER@HOST or an alias of ~/.ssh/config")
        if not shutil.which("ssh"):
            raise LatencyError("there is no ssh here: install OpenSSH's client (Debian: openssh-client)")
        self._host = host
        self._config = config or os.environ.get("FAIRNAS_SSH_CONFIG")
        self._master: _Master | None = None

    def connect(self) -> bool:
        """See `ShellTransport.connect`."""
        if self._master and self.is_alive():
            return False
        self.close()
        self._master = _Master(self._host, self._config)
        try:
            self._master.wait_until_ready()
        except LatencyError:
            self.close()
            raise
        return True

    def is_alive(self) -> bool:
        """See `ShellTransport.is_alive`."""
        return self._master is not None and self._master.is_alive()

    def push(self, files: Sequence[Path], folder: str) -> None:
        """See `Transport.push`."""
        self._copy(["scp", "-q", *self._shared(), *map(str, files), f"board:{folder}/"], folder)

    def pull(self, files: Sequence[str], folder: Path) -> None:
        """See `Transport.pull`."""
        self._copy(["scp", "-q", *self._shared(), *(f"board:{file}" for file in files), f"{folder}/"], files[0])

    def close(self) -> None:
        """End what still runs through this connection, and the connection."""
        super().close()
        if self._master:
            self._master.close()
        self._master = None

    def _client(self, command: str) -> list[str]:
        return ["ssh", "-T", *self._shared(), "board", command]

    def _shared(self) -> list[str]:
        if not self._master:
            raise DeviceLost(f"{self.name} is not connected")
        return self._master.options


class _Master:
    """The shared connection: one ssh that logs in, and runs `cat` there for as long as it lasts.

    It holds on to our pipe: however this process ends, the connection and its end on the board go with it.
    """

    def __init__(self, host: str, config: str | Path | None) -> None:
        self._host = host
        # Only its owner may enter it, and its path is short, as those of sockets must be.
        self._folder = Path(tempfile.mkdtemp(prefix="fairnas-"))
        self._errors = self._folder / "errors"
        socket = self._folder / "ssh"
        # Commands name no host: what cannot go through the socket must not find a way of its own.
        self.options = ["-F", "none", "-o", f"ControlPath={socket}", "-o", "ProxyCommand=false", "-o", "LogLevel=ERROR"]
        settings = {
            "ControlMaster": "yes",
            "ControlPath": socket,
            "ControlPersist": "no",
            "BatchMode": "yes",
            "ConnectTimeout": _CONNECT_S,
            "ServerAliveInterval": _ALIVE_S,
            "ServerAliveCountMax": 2,
            "LogLevel": "ERROR",
            "RemoteCommand": "none",
            "ClearAllForwardings": "yes",
        }
        argv = [
            "ssh",
            "-T",
            *(["-F", str(config)] if config else []),
            *(part for key, value in settings.items() for part in ("-o", f"{key}={value}")),
            "--",
            host,
            f"echo '{_READY}'; exec cat",
        ]
        with self._errors.open("wb") as errors:
            self._process = subprocess.Popen(argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=errors)

    def wait_until_ready(self) -> None:
        """Wait for the login.

        Raises:
            LatencyError: somebody has to do something first; the line says what.
            DeviceLost: the board is not there at the moment.
        """
        assert self._process.stdout
        # Ends by itself: ssh gives up after its timeouts. A board's greeting may come first.
        for line in self._process.stdout:
            if line.strip().decode(errors="replace") == _READY:
                return
        self._process.wait()
        raise explain_refusal(self._host, self._errors.read_text(errors="replace"))

    def is_alive(self) -> bool:
        """Whether the connection holds: ssh itself ends it soon after the board stopped answering."""
        try:
            answer = subprocess.run(
                ["ssh", *self.options, "-O", "check", "board"],
                stdin=subprocess.DEVNULL,
                capture_output=True,
                timeout=PATIENCE_S,
                check=False,
            )
        except subprocess.TimeoutExpired:
            return False
        return answer.returncode == 0 and self._process.poll() is None

    def close(self) -> None:
        """Log out."""
        self._process.terminate()
        self._process.wait()
        for stream in (self._process.stdin, self._process.stdout):
            if stream:
                stream.close()
        shutil.rmtree(self._folder, ignore_errors=True)


def explain_refusal(host: str, said: str) -> LatencyError:
    """What to do when ssh did not get in, from what it said."""
    reason = one_line(said)
    if "IDENTIFICATION HAS CHANGED" in said:
        return LatencyError(
            f"board {host} shows another host key than before: if it was set up anew, `ssh-keygen -R` its name and "
            f"`ssh {host}` once; otherwise somebody else answers there"
        )
    if "Host key verification failed" in said:
        return LatencyError(f"board {host} has a host key that is not known here: `ssh {host}` once and check it")
    if "Permission denied" in said or "Too many authentication failures" in said:
        return LatencyError(f"board {host} refuses the key: `ssh-copy-id {host}`, or load the right one ({reason})")
    if "Could not resolve hostname" in said:
        return LatencyError(f"there is no board called {host}: give an address or an alias of ~/.ssh/config")
    if re.search(r"timed out|refused|unreachable|No route|closed|reset", said):
        return DeviceLost(f"board {host} is not reached: switch it on and check its network and sshd ({reason})")
    return LatencyError(f"ssh does not get to board {host}: {reason or 'it said nothing'}")
