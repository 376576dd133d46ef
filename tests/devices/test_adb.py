"""A phone through the real adb: what it promises, and everything that may be wrong with a phone."""

from __future__ import annotations

import shutil
import subprocess
import sys
import threading
from collections.abc import Callable
from functools import partial
from http.server import HTTPServer, SimpleHTTPRequestHandler
from pathlib import Path

import pytest
from fairnas.latency_tables import LatencyError
from fairnas.latency_tables.device import Device
from fairnas.latency_tables.devices.adb import AdbDevice, choose_phone, find_adb
from fairnas.latency_tables.errors import DeviceLost

from . import faults
from .conftest import CORE
from .contract import CONTRACT, sentence
from .phone_and_board import Phone

WORK = "/data/local/tmp/fairnas"


@pytest.mark.parametrize("promise", CONTRACT, ids=sentence)
def test_the_phone(promise: Callable[[Device], None], phone_device: AdbDevice) -> None:
    promise(phone_device)


def test_the_fingerprint_tells_phone_processor_system_and_runtime(phone_device: AdbDevice) -> None:
    fingerprint = phone_device.fingerprint()
    assert fingerprint["name"] == "Google Pixel 8"
    assert fingerprint["soc"] == "Google Tensor G3"
    assert fingerprint["machine"] == "aarch64"
    assert fingerprint["cores"] == 9
    assert fingerprint["max_mhz"] == "1704 1704 1704 1704 2367 2367 2367 2367 2914"
    assert fingerprint["governor"] == "schedutil"
    assert fingerprint["os"] == "Android 14, google/shiba/shiba:14/LOOKALIKE/1:user/release-keys"
    assert str(fingerprint["runtime"]).startswith("ONNX Runtime 1.")
    assert fingerprint["affinity"] == CORE
    assert phone_device.id == "pixel-8"


def test_conditions_are_of_the_processor_and_of_the_cores_that_measure(phone_device: AdbDevice) -> None:
    now = phone_device.conditions()
    assert now.temperature_c == 41  # the battery has 31.5
    assert now.frequency_mhz == 1704


def test_one_attached_phone_needs_no_serial(phone: Phone) -> None:
    device = AdbDevice(cpus=CORE)
    device.prepare()
    assert device.fingerprint()["name"] == "Google Pixel 8"
    device.close()


def test_a_phone_on_the_network_is_connected_to(phone: Phone) -> None:
    phone.adb("disconnect")
    device = AdbDevice(phone.serial, cpus=CORE)
    device.prepare()
    device.close()


def test_two_phones_are_listed_when_no_serial_says_which(phone: Phone) -> None:
    phone.add_second_address()
    phone.adb("connect", phone.second_serial)
    with pytest.raises(LatencyError) as refusal:
        AdbDevice(cpus=CORE).prepare()
    assert str(refusal.value) == (
        f"2 phones are attached, {phone.serial} (device), {phone.second_serial} (device): choose one with --serial"
    )


def test_the_environment_may_name_the_phone_as_for_adb_itself(phone: Phone, monkeypatch: pytest.MonkeyPatch) -> None:
    phone.add_second_address()
    phone.adb("connect", phone.second_serial)
    monkeypatch.setenv("ANDROID_SERIAL", phone.second_serial)
    device = AdbDevice(cpus=CORE)
    device.prepare()
    device.close()


def test_no_phone_at_all(phone: Phone) -> None:
    phone.adb("disconnect")
    with pytest.raises(DeviceLost, match="no phone is attached: switch on USB debugging"):
        AdbDevice().prepare()


def test_another_phone_than_the_one_named(phone: Phone) -> None:
    with pytest.raises(DeviceLost, match=f"phone 8A1X is not attached .attached: {phone.serial}.: plug it in"):
        AdbDevice("8A1X").prepare()


def test_a_phone_that_does_not_trust_this_computer(phone: Phone) -> None:
    phone.do("up", AUTH="1")
    phone.adb("disconnect")
    phone.adb("connect", phone.serial)
    with pytest.raises(LatencyError, match="does not trust this computer yet: unlock it and accept") as refusal:
        AdbDevice().prepare()
    assert not isinstance(refusal.value, DeviceLost)
    phone.do("trust", str(Path.home() / ".android" / "adbkey.pub"))
    device = AdbDevice(phone.serial, cpus=CORE)
    device.prepare()
    device.close()


def test_an_offline_phone(phone: Phone) -> None:
    phone.do("kill")
    with pytest.raises(DeviceLost, match="is offline: plug it out and in again"):
        AdbDevice().prepare()


@pytest.mark.parametrize(
    ("state", "advice"),
    [
        ("no permissions (user in plugdev group; are your udev rules wrong?); see [...]", "udev rules"),
        ("recovery", "start Android on it"),
        ("bootloader", "start Android on it"),
    ],
)
def test_states_that_only_a_usb_cable_brings(state: str, advice: str) -> None:
    with pytest.raises(LatencyError, match=advice) as refusal:
        choose_phone({"8A1X": state}, None)
    assert "8A1X" in str(refusal.value)


def test_cores_that_the_phone_refuses_are_told_in_one_line(phone: Phone) -> None:
    with pytest.raises(LatencyError, match="cores asked for") as refusal:
        AdbDevice(phone.serial, cpus="8").prepare()  # the look-alike claims to have it, the kernel below does not
    assert "\n" not in str(refusal.value)
    with pytest.raises(LatencyError, match="cores '9' are not there"):
        AdbDevice(phone.serial, cpus="9").prepare()


def test_unplugged_in_the_middle_and_plugged_in_again(phone: Phone, phone_device: AdbDevice) -> None:
    faults.goes_on_after_it_was_lost(phone_device, partial(phone.do, "kill"), partial(phone.do, "revive"))


def test_a_table_survives_that_the_phone_is_unplugged(phone: Phone, phone_device: AdbDevice, tmp_path: Path) -> None:
    lose, find = partial(phone.do, "kill"), partial(phone.do, "revive")
    faults.measures_a_table_through_an_interruption(phone_device, tmp_path / "journal", lose, find)


def test_a_network_that_swallows_everything_is_noticed(
    phone: Phone, phone_device: AdbDevice, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("fairnas.latency_tables.devices.shell._SILENCE_S", 1.0)
    monkeypatch.setattr("fairnas.latency_tables.devices.adb.PATIENCE_S", 2.0)
    faults.goes_on_after_it_was_lost(phone_device, phone.cut, phone.mend)


def test_a_full_data_partition(phone: Phone, phone_device: AdbDevice) -> None:
    faults.says_how_much_room_it_lacks(phone_device, phone, WORK)


def test_a_copy_that_the_phone_refuses(phone_device: AdbDevice) -> None:
    with pytest.raises(LatencyError, match=r"/system: .*Permission denied"):
        phone_device._transport.push([Path(__file__)], "/system")


def test_wrong_answers_are_seen(phone: Phone, phone_device: AdbDevice) -> None:
    faults.shows_wrong_answers(phone_device, phone.file(f"{WORK}/models"))


def test_nothing_runs_on_the_phone_after_close(phone: Phone, phone_device: AdbDevice) -> None:
    faults.leaves_nothing_running(phone_device, phone)


def test_the_phone_reaches_a_server_here_at_its_own_localhost(phone: Phone, tmp_path: Path) -> None:
    (tmp_path / "page").write_text("served")
    handler = partial(SimpleHTTPRequestHandler, directory=str(tmp_path))
    device = AdbDevice(phone.serial)
    with HTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        port = server.server_address[1]
        device.reverse(port)
        assert _fetch_on(phone, port) == "served"
        device.close()
        assert _fetch_on(phone, port) == ""
        server.shutdown()


def test_without_any_adb_one_line_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "")
    monkeypatch.setitem(sys.modules, "adbutils", None)
    with pytest.raises(LatencyError, match=r"install fairnas\[adb\]"):
        find_adb()


def test_the_adb_of_adbutils_is_found_where_path_has_none(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    adb = tmp_path / "adbutils" / "binaries" / "adb"
    adb.parent.mkdir(parents=True)
    (tmp_path / "adbutils" / "__init__.py").touch()
    shutil.copy("/bin/true", adb)
    monkeypatch.setenv("PATH", "")
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(sys.modules, "adbutils", raising=False)
    assert find_adb() == str(adb)


@pytest.mark.parametrize("threads", [0, -1])
def test_no_threads_are_refused(phone: Phone, threads: int) -> None:
    with pytest.raises(LatencyError, match=f"cannot measure with {threads} threads"):
        AdbDevice(phone.serial, threads=threads)


def _fetch_on(phone: Phone, port: int) -> str:
    script = f"import urllib.request as r; print(r.urlopen('http://localhost:{port}/page', timeout=5).read().decode())"
    argv = ["ip", "netns", "exec", phone.netns, sys.executable, "-c", script]
    return subprocess.run(argv, capture_output=True, text=True, check=False).stdout.strip()
