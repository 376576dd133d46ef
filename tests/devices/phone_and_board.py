"""A phone and a board that are none: real adb and ssh daemons before an emulated arm64 system; see `lookalikes/`."""

from __future__ import annotations

import os
import signal
import subprocess
from contextlib import suppress
from pathlib import Path

from fairnas.latency_tables.devices.adb import find_adb

SCRIPTS = Path(__file__).parent / "lookalikes"
LAB = Path(os.environ.get("FAIRNAS_LAB", "/var/tmp/fairnas-lab"))


class Lookalike:
    """One of them; its script says what else it can do."""

    user: int
    """Who programs run as, and owns the files."""

    def __init__(self, name: str, daemon: str) -> None:
        self._script, self._home, self._daemon = SCRIPTS / f"{name}.sh", LAB / name, daemon
        self.netns = f"fairnas-{name}"
        self._root = str(self._home / "root")

    def do(self, *arguments: str, **environment: str) -> None:
        """Run its script: `up`, `down`, and what `name.sh` lists."""
        subprocess.run([self._script, *arguments], check=True, stdout=subprocess.DEVNULL, env=os.environ | environment)

    def processes(self) -> dict[int, str]:
        """Command lines of what runs on it."""
        found = subprocess.run(["ip", "netns", "pids", self.netns], check=True, capture_output=True, text=True)
        lines: dict[int, str] = {}
        for pid in map(int, found.stdout.split()):
            with suppress(FileNotFoundError, ProcessLookupError):
                lines[pid] = Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ").decode()
        return lines

    def file(self, path: str) -> Path:
        """A file of its own, as this machine sees it."""
        return self._home / "root" / path.lstrip("/")

    def mount_small(self, folder: str, kilobytes: int) -> None:
        """Give a folder of it a file system of its own that is soon full; ends with its daemon."""
        self.file(folder).mkdir(parents=True, exist_ok=True)
        options = f"size={kilobytes}k,mode=755,uid={self.user},gid={self.user}"
        self._inside("mount", "-t", "tmpfs", "-o", options, "tmpfs", f"{self._root}{folder}")

    def unmount(self, folder: str) -> None:
        """Undo `mount_small`."""
        self._inside("umount", "--lazy", f"{self._root}{folder}")

    def _inside(self, *argv: str) -> None:
        pid = (self._home / f"{self._daemon}.pid").read_text().strip()
        subprocess.run(["nsenter", "--target", pid, "--mount", *argv], check=True)


class Phone(Lookalike):
    """A Pixel 8 on the network."""

    serial = "10.77.0.2:5555"
    second_serial = "10.77.0.6:5555"
    user = 2000

    def __init__(self) -> None:
        super().__init__("phone", "adbd")

    def adb(self, *arguments: str) -> str:
        """What the same adb prints that the tested code uses."""
        return subprocess.run([find_adb(), *arguments], capture_output=True, text=True, check=False).stdout

    def attached(self) -> dict[str, str]:
        """States of all phones, by serial, as adb lists them."""
        return dict(line.split("\t", 1) for line in self.adb("devices").splitlines() if "\t" in line)

    def cut(self) -> None:
        """Lose its network, without a word to either side."""
        subprocess.run(["ip", "-n", self.netns, "link", "set", "eth0", "down"], check=True)

    def mend(self) -> None:
        """Give its network back."""
        subprocess.run(["ip", "-n", self.netns, "link", "set", "eth0", "up"], check=True)

    def add_second_address(self) -> None:
        """To adb, what answers at another address is another phone."""
        address = self.second_serial.partition(":")[0]
        subprocess.run(["ip", "-n", self.netns, "address", "replace", f"{address}/32", "dev", "eth0"], check=True)
        subprocess.run(["ip", "route", "replace", f"{address}/32", "dev", "fn-phone"], check=True)


class Board(Lookalike):
    """A Raspberry Pi 4 on the network."""

    host = "board"
    user = 1000
    ssh_config = LAB / "board" / "ssh_config"

    def __init__(self) -> None:
        super().__init__("board", "sshd")
        self._root = "/run/board"  # as board.sh shows it to logins, in a mount table of its own

    def end_sessions(self) -> None:
        """End all logins at once, as a board that restarts does."""
        for pid, line in self.processes().items():
            if line.startswith("sshd: ") and "listener" not in line:
                with suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
