"""Which phones are attached, asked without leaving anything behind."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from pathlib import Path

from ..errors import LatencyError
from .adb import find_adb

_DEFAULT_PORT = 5037
_USB = Path("/sys/bus/usb/devices")
_ADB_INTERFACE = ("ff", "42", "01")  # class, subclass and protocol of USB debugging


def attached_phones() -> list[str]:
    """Serials that adb lists, in whatever state; none where there is no adb.

    An adb server is started only where a phone is likely: one that finds nothing would go on running.
    """
    try:
        adb = find_adb()
    except LatencyError:
        return []
    if not (_server_is_running() or _usb_offers_debugging()):
        return []
    try:
        listed = subprocess.run([adb, "devices"], capture_output=True, text=True, timeout=30, check=False).stdout
    except (OSError, subprocess.TimeoutExpired):
        return []
    return [line.split("\t")[0] for line in listed.splitlines() if "\t" in line]


def _server_is_running() -> bool:
    port = int(os.environ.get("ANDROID_ADB_SERVER_PORT") or _DEFAULT_PORT)
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
