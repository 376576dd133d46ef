"""What a Linux system, Android included, says of its processor: asked through any shell, with what every one has."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass

from ..device import Conditions, Fingerprint
from ..errors import LatencyError

Ask = Callable[[str], list[str]]
"""Runs a shell script on a device and gives the lines that it printed."""

_CPUS = "/sys/devices/system/cpu"
_ZONES = "/sys/class/thermal"
# Phones also have sensors in the battery, the skin, the modem and the charger, which say little about the clock.
_PROCESSOR_SENSOR = re.compile(r"cpu|soc|pkg|tsens|apc|cluster|^(big|mid|little)$", re.IGNORECASE)
_PLAUSIBLE_C = (-40.0, 150.0)


@dataclass(frozen=True, slots=True)
class LinuxSystem:
    """A system at the time it was asked.

    Attributes:
        machine: as `uname -m` says, such as `aarch64`.
        kernel: its release.
        title: of the distribution; empty where there is none (Android).
        model: of the board or computer; empty where the firmware does not tell.
        processor: parts of the cores, such as `4x 0x41:0xd46, 1x 0x41:0xd4e`, or the model of the processor.
        max_mhz: highest clock of each core; 0 where it does not tell.
        governor: of each core that tells, without repetition.
    """

    machine: str
    kernel: str
    title: str
    model: str
    processor: str
    max_mhz: tuple[int, ...]
    governor: str

    @classmethod
    def read(cls, ask: Ask) -> LinuxSystem:
        """Ask a system; what it denies or does not have stays empty."""
        machine, kernel = ask("uname -m; uname -r")
        firmware = ask(
            "cat /sys/firmware/devicetree/base/model /sys/class/dmi/id/product_name 2>/dev/null | tr '\\000' '\\n'"
        )
        files = _read_files(
            ask,
            "/proc/cpuinfo",
            "/etc/os-release",
            f"{_CPUS}/possible",
            f"{_CPUS}/cpufreq/policy*/related_cpus",
            f"{_CPUS}/cpufreq/policy*/cpuinfo_max_freq",
            f"{_CPUS}/cpufreq/policy*/scaling_governor",
        )
        cpuinfo = files.get("/proc/cpuinfo", [])
        possible = files.get(f"{_CPUS}/possible")
        cores = parse_cores(possible[0]) if possible else range(sum(line.startswith("processor") for line in cpuinfo))
        governors = {lines[0] for path, lines in files.items() if path.endswith("scaling_governor")}
        clocks = _highest_clocks(files)
        return cls(
            machine=machine,
            kernel=kernel,
            title=_title(files.get("/etc/os-release", [])),
            model=next((line.strip() for line in firmware if line.strip()), ""),
            processor=_processor(cpuinfo),
            max_mhz=tuple(clocks.get(core, 0) for core in cores),
            governor=", ".join(sorted(governors)),
        )

    def fingerprint(self) -> Fingerprint:
        """The part of a device's fingerprint that this system tells."""
        known: Fingerprint = {
            "machine": self.machine,
            "cores": len(self.max_mhz),
            "max_mhz": " ".join(map(str, self.max_mhz)) if any(self.max_mhz) else "",
            "governor": self.governor,
            "processor": self.processor,
        }
        return {key: value for key, value in known.items() if value != ""}

    def choose_cores(self, wanted: str | None, threads: int) -> tuple[int, ...]:
        """The cores to measure on.

        Args:
            wanted: `big` or `little`, the fastest or slowest cores by highest clock, as many kinds of them as hold the
                threads; or numbers such as `4-7` and `4,5`. None means `big`, and no choice where clocks are unknown.
            threads: how many run at a time.

        Returns:
            Numbers in order; none means that the scheduler decides.

        Raises:
            LatencyError: there are no such cores, or too few of them.
        """
        if wanted in (None, "big", "little"):
            if not all(self.max_mhz):
                if wanted is None:
                    return ()
                raise LatencyError(f"the device does not tell its cores' clocks, so none is '{wanted}': give numbers")
            return self._by_speed(fastest_first=wanted != "little", threads=threads)
        cores = parse_cores(wanted)
        if not cores or max(cores) >= len(self.max_mhz):
            raise LatencyError(
                f"cores '{wanted}' are not there: it has 0 to {len(self.max_mhz) - 1}; give big, little, 4-7 or 4,5"
            )
        if len(cores) < threads:
            raise LatencyError(f"{threads} threads do not fit on cores '{wanted}': give more cores or fewer threads")
        return cores

    def _by_speed(self, *, fastest_first: bool, threads: int) -> tuple[int, ...]:
        chosen: list[int] = []
        for speed in sorted(set(self.max_mhz), reverse=fastest_first):
            chosen += [core for core, mhz in enumerate(self.max_mhz) if mhz == speed]
            if len(chosen) >= threads:
                break
        return tuple(sorted(chosen))


def read_conditions(ask: Ask, cores: Iterable[int]) -> Conditions:
    """Temperature and clock now; phones may deny either.

    Args:
        ask: how to ask.
        cores: those that measure; none means all.
    """
    files = _read_files(
        ask,
        f"{_ZONES}/thermal_zone*/type",
        f"{_ZONES}/thermal_zone*/temp",
        *(f"{_CPUS}/cpu{core}/cpufreq/scaling_cur_freq" for core in tuple(cores) or ("[0-9]*",)),
    )
    temperatures = [
        _celsius(files.get(path.removesuffix("type") + "temp"))
        for path, lines in files.items()
        if path.endswith("/type") and _PROCESSOR_SENSOR.search(lines[0])
    ]
    clocks = [_mhz(lines) for path, lines in files.items() if path.endswith("/scaling_cur_freq")]
    return Conditions(
        temperature_c=max((value for value in temperatures if value is not None), default=None),
        frequency_mhz=min((float(mhz) for mhz in clocks if mhz), default=None),
    )


def parse_cores(text: str) -> tuple[int, ...]:
    """Numbers of cores from text such as `0-3,6`; none where it is no such text."""
    cores: set[int] = set()
    for part in text.strip().split(","):
        match = re.fullmatch(r"(\d{1,4})(?:-(\d{1,4}))?", part)
        if not match:
            return ()
        cores.update(range(int(match[1]), int(match[2] or match[1]) + 1))
    return tuple(sorted(cores))


def format_cores(cores: Sequence[int]) -> str:
    """Numbers of cores as text such as `0-3,6`; `any` for none."""
    spans: list[list[int]] = []
    for core in cores:
        if spans and core == spans[-1][1] + 1:
            spans[-1][1] = core
        else:
            spans.append([core, core])
    return ",".join(str(first) if first == last else f"{first}-{last}" for first, last in spans) or "any"


def _read_files(ask: Ask, *patterns: str) -> Mapping[str, list[str]]:
    """Lines of the readable files among shell patterns, by path: one program for all, as each takes a phone a while."""
    files: dict[str, list[str]] = defaultdict(list)
    for line in ask(f"grep -sH '' {' '.join(patterns)}"):
        path, _, content = line.partition(":")
        files[path].append(content)
    return files


def _highest_clocks(files: Mapping[str, list[str]]) -> dict[int, int]:
    """In MHz by core. From the policies, which know cores that are asleep, too: phones switch idle ones off."""
    clocks: dict[int, int] = {}
    for path, lines in files.items():
        if path.endswith("/related_cpus"):
            highest = _mhz(files.get(path.replace("related_cpus", "cpuinfo_max_freq")))
            clocks |= dict.fromkeys(parse_cores(",".join(lines[0].split())), highest)
    return clocks


def _title(os_release: Iterable[str]) -> str:
    for line in os_release:
        key, _, value = line.partition("=")
        if key == "PRETTY_NAME":
            return value.strip("\"'")
    return ""


def _processor(cpuinfo: Iterable[str]) -> str:
    """x86 names the model, ARM only the parts of each core."""
    parts: dict[str, int] = defaultdict(int)
    implementer = ""
    for line in cpuinfo:
        key, _, value = (part.strip() for part in line.partition(":"))
        if key == "model name":
            return value
        if key == "CPU implementer":
            implementer = value
        if key == "CPU part":
            parts[f"{implementer}:{value}"] += 1
    return ", ".join(f"{count}x {part}" for part, count in parts.items())


def _mhz(lines: Sequence[str] | None) -> int:
    return int(lines[0]) // 1000 if lines and lines[0].isdecimal() else 0


def _celsius(lines: Sequence[str] | None) -> float | None:
    if not lines or not re.fullmatch(r"-?\d+", lines[0]):
        return None
    # Kernels give thousandths; some vendors' drivers give whole degrees.
    value = int(lines[0]) / 1000 if abs(int(lines[0])) >= 1000 else float(lines[0])
    return value if _PLAUSIBLE_C[0] < value < _PLAUSIBLE_C[1] else None
