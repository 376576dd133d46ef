"""The look-alikes, and one core that devices measure on: the cores that they claim to have need not exist here."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from fairnas.latency_tables.devices.adb import AdbDevice
from fairnas.latency_tables.devices.ssh import SshDevice

from .phone_and_board import Board, Phone

CORE = str(max(os.sched_getaffinity(0)))


def _need_lookalikes() -> None:
    reason = os.environ.get("FAIRNAS_LOOKALIKES", "started without tests/devices/run.sh")
    if reason != "ready":
        pytest.skip(f"needs the look-alikes: {reason}")


@pytest.fixture(scope="session")
def running_phone(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Phone]:
    _need_lookalikes()
    # Leave the developer's adb server and key alone, but find the bundles that were built before.
    os.environ["ANDROID_ADB_SERVER_PORT"] = "5339"
    os.environ.setdefault("XDG_CACHE_HOME", str(Path.home() / ".cache"))
    os.environ["HOME"] = str(tmp_path_factory.mktemp("home"))
    os.environ.pop("ANDROID_SERIAL", None)
    phone = Phone()
    phone.do("down")
    phone.do("up")
    yield phone
    phone.adb("kill-server")
    phone.do("down")


@pytest.fixture
def phone(running_phone: Phone) -> Phone:
    """The phone, authorised and attached to adb, whatever the test before did to it."""
    running_phone.do("up")
    running_phone.do("revive")
    running_phone.mend()
    if running_phone.attached() != {running_phone.serial: "device"}:
        running_phone.adb("disconnect")
        running_phone.adb("connect", running_phone.serial)
    return running_phone


@pytest.fixture(scope="session")
def kept_phone_device(running_phone: Phone) -> Iterator[AdbDevice]:
    device = AdbDevice(running_phone.serial, cpus=CORE)
    yield device
    device.close()


@pytest.fixture
def phone_device(phone: Phone, kept_phone_device: AdbDevice) -> AdbDevice:
    """One for all tests: emulated, checking what is installed takes a while."""
    kept_phone_device.prepare()
    return kept_phone_device


@pytest.fixture(scope="session")
def running_board() -> Iterator[Board]:
    _need_lookalikes()
    board = Board()
    board.do("down")
    board.do("up")
    yield board
    board.do("down")


@pytest.fixture
def board(running_board: Board) -> Board:
    """The board, with its cable plugged in."""
    running_board.do("mend")
    return running_board


@pytest.fixture(scope="session")
def kept_board_device(running_board: Board) -> Iterator[SshDevice]:
    device = SshDevice(running_board.host, cpus=CORE, config=running_board.ssh_config)
    yield device
    device.close()


@pytest.fixture
def board_device(board: Board, kept_board_device: SshDevice) -> SshDevice:
    """One for all tests: emulated, checking what is installed takes a while."""
    kept_board_device.prepare()
    return kept_board_device
