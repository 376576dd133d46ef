"""Which phones are attached, asked without leaving anything behind."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from pathlib import Path

from ..errors import LatencyError
from .adb import adb_reason, find_adb

_DEFAULT_PORT = 5037
_USB = Path("/sys/bus/usb/devices")
_ADB_INTERFACE = ("ff", "42", "01")  # class, subclass and protocol of USB debugging


def attached_phones() -> list[str]:
    """Serials that adb lists, in whatever state; none where there is no adb.

    An adb server is started only where a phone is likely: one that finds nothing would go on running.

    Raises:
        LatencyError: a server is there, here or where `ADB_SERVER_SOCKET` says, and does not tell.
    """
    try:
        adb = find_adb()
    except LatencyError:
        return []
    if not (os.environ.get("ADB_SERVER_SOCKET") or _server_is_running() or _usb_offers_debugging()):
        return []
    try:
        done = subprocess.run([adb, "devices"], capture_output=True, text=True, timeout=30, check=False)
    except (OSError, subprocess.TimeoutExpired) as error:
        raise LatencyError(f"adb does not tell which phones are attached: {error}") from error
    if done.returncode:
        raise LatencyError(f"adb does not tell which phones are attached: {adb_reason(done.stdout + done.stderr)}")
    return [line.split("\t")[0] for line in done.stdout.splitlines() if "\t" in line]


def _server_is_running() -> bool:
    given = os.environ.get("ANDROID_ADB_SERVER_PORT") or str(_DEFAULT_PORT)
    port = int(given) if given.isascii() and given.isdecimal() else 0
    if not 0 < port < 65536:
        raise LatencyError(f"ANDROID_ADB_SERVER_PORT is {given!r}: expected a port, such as {_DEFAULT_PORT}")
    try:
        socket.create_connection(("127.0.0.1", port), timeout=1).close()
    except OSError:
        return False
    return True


def _usb_offers_debugging() -> bool:
    if sys.platform != "linux":
        return True  # cannot be told without adb
    names = ("bInterfaceClass", "bInterfaceSubClass", "bInterfaceProtocol")
    for interface in _USB.glob("*:*"):
        try:
            if tuple((interface / name).read_text().strip() for name in names) == _ADB_INTERFACE:
                return True
        except OSError:
            continue  # unplugged this moment
    return False
