"""A board through the real ssh: what it promises, and everything that may be wrong with a board."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Callable
from functools import partial
from pathlib import Path

import pytest
from fairnas.latency_tables import LatencyError
from fairnas.latency_tables.device import Device
from fairnas.latency_tables.devices.ssh import SshDevice, explain_refusal
from fairnas.latency_tables.errors import DeviceLost

from . import faults
from .conftest import CORE
from .contract import CONTRACT, sentence
from .phone_and_board import Board

WORK = "/home/pi/.cache/fairnas"


@pytest.mark.parametrize("promise", CONTRACT, ids=sentence)
def test_the_board(promise: Callable[[Device], None], board_device: SshDevice) -> None:
    promise(board_device)


def test_the_fingerprint_tells_board_processor_system_and_runtime(board_device: SshDevice) -> None:
    fingerprint = board_device.fingerprint()
    assert fingerprint["name"] == "Raspberry Pi 4 Model B Rev 1.4"
    assert fingerprint["machine"] == "aarch64"
    assert fingerprint["processor"] == "4x 0x41:0xd08"
    assert fingerprint["max_mhz"] == "1800 1800 1800 1800"
    assert str(fingerprint["os"]).startswith("Debian GNU/Linux 12 (bookworm), kernel ")
    assert str(fingerprint["runtime"]).startswith("ONNX Runtime 1.")
    assert fingerprint["affinity"] == CORE
    assert board_device.id == "board"


def test_conditions_are_those_of_the_processor(board_device: SshDevice) -> None:
    now = board_device.conditions()
    assert (now.temperature_c, now.frequency_mhz) == (45.2, 1800)


def test_a_board_with_glibc_uses_its_own_loader_and_one_without_brings_it(board: Board) -> None:
    bundled = {}
    getconf = board.file("/usr/bin/getconf")
    for has_getconf in (True, False):
        getconf.chmod(0o755 if has_getconf else 0)
        device = SshDevice(board.host, cpus=CORE, config=board.ssh_config)
        device.prepare()
        device.close()
        bundled[has_getconf] = any(board.file(WORK).glob("bundle-*/ld-linux*"))
    getconf.chmod(0o755)
    assert bundled == {True: False, False: True}


def test_the_environment_may_name_the_configuration(board: Board, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FAIRNAS_SSH_CONFIG", str(board.ssh_config))
    device = SshDevice(board.host, cpus=CORE)
    device.prepare()
    device.close()


@pytest.mark.parametrize(
    ("settings", "error", "advice"),
    [
        ("PubkeyAuthentication no", LatencyError, "refuses the key: `ssh-copy-id board`"),
        ("UserKnownHostsFile /dev/null", LatencyError, "has a host key that is not known here: `ssh board` once"),
        ("Port 23", DeviceLost, "is not reached: switch it on"),
        ("HostName 10.78.0.2.invalid", LatencyError, "there is no board called board"),
        ("NoSuchSetting yes", LatencyError, "Bad configuration option"),
    ],
)
def test_what_keeps_ssh_out_is_told_in_one_line(
    board: Board, tmp_path: Path, settings: str, error: type[LatencyError], advice: str
) -> None:
    config = tmp_path / "config"
    # The first value of a setting counts.
    config.write_text(f"Host board\n  {settings}\n{board.ssh_config.read_text()}")
    with pytest.raises(error, match=advice) as refusal:
        SshDevice(board.host, config=config).prepare()
    assert type(refusal.value) is error
    assert "\n" not in str(refusal.value)


def test_a_host_key_that_changed(board: Board, tmp_path: Path) -> None:
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(tmp_path / "other")], check=True)
    kind, key, *_ = (tmp_path / "other.pub").read_text().split()
    (tmp_path / "known_hosts").write_text(f"10.78.0.2 {kind} {key}\n")
    config = tmp_path / "config"
    config.write_text(f"Host board\n  UserKnownHostsFile {tmp_path}/known_hosts\n{board.ssh_config.read_text()}")
    with pytest.raises(LatencyError, match="shows another host key than before"):
        SshDevice(board.host, config=config).prepare()


def test_a_board_that_is_out_of_reach(board: Board) -> None:
    board.do("cut")
    with pytest.raises(DeviceLost, match="is not reached: switch it on and check its network"):
        SshDevice(board.host, config=board.ssh_config).prepare()


@pytest.mark.parametrize("host", ["", "-oProxyCommand=reboot", "a b", "a\nb"])
def test_what_is_no_host_never_reaches_ssh(host: str) -> None:
    with pytest.raises(LatencyError, match="is no host for ssh"):
        SshDevice(host)


def test_what_ssh_says_without_reason_is_passed_on() -> None:
    assert str(explain_refusal("pi", "")) == "ssh does not get to board pi: it said nothing"


def test_the_cable_pulled_in_the_middle_and_plugged_in_again(board: Board, board_device: SshDevice) -> None:
    faults.goes_on_after_it_was_lost(board_device, partial(board.do, "cut"), partial(board.do, "mend"))


def test_a_table_survives_that_the_board_is_restarted(board: Board, board_device: SshDevice, tmp_path: Path) -> None:
    lose, find = board.end_sessions, lambda: None
    faults.measures_a_table_through_an_interruption(board_device, tmp_path / "journal", lose, find)


def test_a_full_disk(board: Board, board_device: SshDevice) -> None:
    faults.says_how_much_room_it_lacks(board_device, board, WORK)


def test_a_copy_that_the_board_refuses(board_device: SshDevice) -> None:
    with pytest.raises(LatencyError, match=r"/usr: .*Permission denied"):
        board_device._transport.push([Path(__file__)], "/usr")


def test_wrong_answers_are_seen(board: Board, board_device: SshDevice) -> None:
    faults.shows_wrong_answers(board_device, board.file(f"{WORK}/models"))


def test_nothing_runs_on_the_board_after_close(board: Board, board_device: SshDevice) -> None:
    faults.leaves_nothing_running(board_device, board)


def test_nothing_of_the_connection_stays_here_after_close(board: Board) -> None:
    others = _sockets_of_own_clients()
    device = SshDevice(board.host, cpus=CORE, config=board.ssh_config)
    device.prepare()
    [socket] = _sockets_of_own_clients() - others
    assert socket.is_socket()
    assert socket.parent.stat().st_mode & 0o077 == 0
    device.close()
    assert not socket.parent.exists()
    assert _sockets_of_own_clients() == others


def _sockets_of_own_clients() -> set[Path]:
    """Control sockets of the ssh programs that are children of this process."""
    argv = ["ps", "-ww", "--ppid", str(os.getpid()), "-o", "args="]
    printed = subprocess.run(argv, capture_output=True, text=True, check=False).stdout
    return {Path(part.removeprefix("ControlPath=")) for part in printed.split() if part.startswith("ControlPath=")}
