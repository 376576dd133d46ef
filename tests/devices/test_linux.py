"""What a Linux system says of itself, asked through this machine's shell, on files laid out as devices have them."""

from __future__ import annotations

import subprocess
from dataclasses import replace
from pathlib import Path

import pytest
from fairnas.latency_tables import LatencyError
from fairnas.latency_tables.devices import linux
from fairnas.latency_tables.devices.linux import LinuxSystem, format_cores, parse_cores, read_conditions

PHONE = LinuxSystem(
    machine="aarch64",
    kernel="6.1",
    title="",
    model="",
    processor="",
    max_mhz=(1700,) * 4 + (2300,) * 4 + (2900,),
    governor="schedutil",
)


def ask(script: str) -> list[str]:
    return subprocess.run(["sh", "-c", script], capture_output=True, text=True, check=False).stdout.splitlines()


def write(root: Path, **contents: str) -> None:
    for name, content in contents.items():
        path = root / name.replace("__", "/")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(content + "\n")


@pytest.fixture
def sysfs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(linux, "_CPUS", str(tmp_path / "cpu"))
    monkeypatch.setattr(linux, "_ZONES", str(tmp_path / "thermal"))
    return tmp_path


def test_this_machine_can_be_asked() -> None:
    system = LinuxSystem.read(ask)
    assert system.machine == ask("uname -m")[0]
    assert len(system.max_mhz) >= 1
    assert {"machine", "cores"} <= system.fingerprint().keys()
    assert "" not in system.fingerprint().values()


def test_cores_that_are_switched_off_keep_their_clocks(sysfs: Path) -> None:
    # As a phone has it while cores 2 and 3 sleep: they have no folder of their own.
    write(
        sysfs / "cpu",
        possible="0-3",
        cpufreq__policy0__related_cpus="0 1",
        cpufreq__policy0__cpuinfo_max_freq="1800000",
        cpufreq__policy0__scaling_governor="schedutil",
        cpufreq__policy2__related_cpus="2 3",
        cpufreq__policy2__cpuinfo_max_freq="2800000",
        cpufreq__policy2__scaling_governor="performance",
    )
    system = LinuxSystem.read(ask)
    assert system.max_mhz == (1800, 1800, 2800, 2800)
    assert system.governor == "performance, schedutil"
    assert system.choose_cores(None, 1) == (2, 3)


def test_the_warmest_sensor_of_the_processor_counts_and_no_other(sysfs: Path) -> None:
    zones = {"cpu-0-0-usr": "41000", "cpuss-1": "47500", "battery": "60000", "gpu": "70000", "cpu-broken": "-274000"}
    for number, (kind, temperature) in enumerate(zones.items()):
        write(sysfs / "thermal" / f"thermal_zone{number}", type=kind, temp=temperature)
    write(sysfs / "cpu" / "cpu0" / "cpufreq", scaling_cur_freq="600000")
    write(sysfs / "cpu" / "cpu4" / "cpufreq", scaling_cur_freq="2400000")
    write(sysfs / "cpu" / "cpu10" / "cpufreq", scaling_cur_freq="2100000")
    now = read_conditions(ask, (4, 10))
    assert (now.temperature_c, now.frequency_mhz) == (47.5, 2100)
    assert read_conditions(ask, ()).frequency_mhz == 600


def test_sensors_that_count_in_whole_degrees_are_understood(sysfs: Path) -> None:
    write(sysfs / "thermal" / "thermal_zone0", type="mtktscpu", temp="52")
    assert read_conditions(ask, (0,)).temperature_c == 52


def test_a_device_that_denies_everything_has_no_conditions(sysfs: Path) -> None:
    now = read_conditions(ask, (0,))
    assert (now.temperature_c, now.frequency_mhz) == (None, None)


@pytest.mark.parametrize(
    ("wanted", "threads", "cores"),
    [
        (None, 1, (8,)),
        ("big", 1, (8,)),
        ("big", 2, (4, 5, 6, 7, 8)),
        ("little", 1, (0, 1, 2, 3)),
        ("little", 5, (0, 1, 2, 3, 4, 5, 6, 7)),
        ("4-7", 4, (4, 5, 6, 7)),
        ("5,4", 1, (4, 5)),
    ],
)
def test_cores_are_chosen_by_speed_or_number(wanted: str | None, threads: int, cores: tuple[int, ...]) -> None:
    assert PHONE.choose_cores(wanted, threads) == cores


@pytest.mark.parametrize("wanted", ["9", "4-12", "", "biggest", "4;reboot", "7-4", "-1"])
def test_cores_that_are_not_there_are_refused(wanted: str) -> None:
    with pytest.raises(LatencyError, match=r"are not there: it has 0 to 8; give big, little, 4-7 or 4,5"):
        PHONE.choose_cores(wanted, 1)


def test_fewer_cores_than_threads_are_refused() -> None:
    with pytest.raises(LatencyError, match="4 threads do not fit on cores '4,5'"):
        PHONE.choose_cores("4,5", 4)


def test_where_clocks_are_unknown_the_scheduler_chooses_unless_asked_for_big() -> None:
    unknown = replace(PHONE, max_mhz=(0, 0))
    assert unknown.choose_cores(None, 1) == ()
    assert unknown.choose_cores("1", 1) == (1,)
    with pytest.raises(LatencyError, match="does not tell its cores' clocks"):
        unknown.choose_cores("big", 1)


@pytest.mark.parametrize("text", ["0", "0-3", "0-3,6", "4,6,8-9"])
def test_core_lists_survive_a_round_trip(text: str) -> None:
    assert format_cores(parse_cores(text)) == text


def test_no_cores_are_any() -> None:
    assert format_cores(()) == "any"
