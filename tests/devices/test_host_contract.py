"""This machine passes what every device passes."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from fairnas.latency_tables import HostDevice
from fairnas.latency_tables.device import Device

from .contract import CONTRACT, sentence


@pytest.mark.parametrize("promise", CONTRACT, ids=sentence)
def test_the_host(promise: Callable[[Device], None]) -> None:
    device = HostDevice()
    device.prepare()
    promise(device)
    device.close()
