"""What an Android phone asks of a program and of a library before it starts them, read from the files."""

from __future__ import annotations

from pathlib import Path

from elftools.common.exceptions import ELFError
from elftools.elf.dynamic import DynamicSection
from elftools.elf.elffile import ELFFile
from elftools.elf.gnuversions import GNUVerDefSection
from elftools.elf.relocation import RelocationSection
from elftools.elf.segments import InterpSegment

from ..errors import LatencyError

_INTERPRETER = "/system/bin/linker64"
_PAGE_BYTES = 16384
# What a program may count on without Android's own framework.
_SYSTEM_LIBRARIES = {"libc.so", "libdl.so", "libm.so", "liblog.so", "libandroid.so"}
_RUNNER_LIBRARIES = {"libc.so", "libdl.so"}
_COPY_RELOCATION = 1024  # R_AARCH64_COPY: bionic's linker refuses it.


def check_android_program(path: Path) -> None:
    """Check our runner: position independent, started by bionic's linker, on libc and libdl alone, and see below.

    Raises:
        LatencyError: a phone would refuse it; the line names the fact.
    """
    with path.open("rb") as file:
        elf = _opened(file, path)
        interpreters = [part.get_interp_name() for part in elf.iter_segments() if isinstance(part, InterpSegment)]
        _demand(path, interpreters == [_INTERPRETER], f"its interpreter is {interpreters}, not {_INTERPRETER}")
        needed = _dynamic_values(elf, "DT_NEEDED")
        _demand(path, set(needed) == _RUNNER_LIBRARIES, f"it needs {needed}, not {sorted(_RUNNER_LIBRARIES)}")
        _check_loadable(path, elf)


def check_android_library(path: Path) -> None:
    """Check ONNX Runtime: 64-bit Arm, 16 KB pages, only libraries that every phone has, nothing bionic refuses.

    Raises:
        LatencyError: a phone would refuse it; the line names the fact.
    """
    with path.open("rb") as file:
        elf = _opened(file, path)
        foreign = set(_dynamic_values(elf, "DT_NEEDED")) - _SYSTEM_LIBRARIES
        _demand(path, not foreign, f"it needs {sorted(foreign)}, which phones do not give to programs")
        _check_loadable(path, elf)


def runtime_version(path: Path) -> str:
    """The version of ONNX Runtime that a library says of itself (its symbols are marked `VERS_1.32.0`).

    Raises:
        LatencyError: it is no ONNX Runtime.
    """
    with path.open("rb") as file:
        for section in _opened(file, path).iter_sections():
            if isinstance(section, GNUVerDefSection):
                for _, names in section.iter_versions():
                    for name in names:
                        if name.name.startswith("VERS_"):
                            return name.name.removeprefix("VERS_")
    raise LatencyError(f"{path} is not ONNX Runtime: it tells no version")


def _opened(file, path: Path) -> ELFFile:
    try:
        return ELFFile(file)
    except ELFError as error:
        raise LatencyError(f"{path} is no ELF file: {error}") from error


def _check_loadable(path: Path, elf: ELFFile) -> None:
    kind = (elf.elfclass, elf["e_machine"], elf["e_type"])
    _demand(path, kind == (64, "EM_AARCH64", "ET_DYN"), f"it is {kind}, not position-independent 64-bit Arm")
    for part in elf.iter_segments():
        if part["p_type"] == "PT_LOAD":
            pages = part["p_align"]
            _demand(
                path, pages >= _PAGE_BYTES, f"it is laid out for {pages}-byte pages, phones have up to {_PAGE_BYTES}"
            )
        if part["p_type"] == "PT_GNU_STACK":
            _demand(path, not part["p_flags"] & 1, "it asks for an executable stack")
    _demand(path, not _dynamic_values(elf, "DT_TEXTREL"), "it has text relocations")
    for section in elf.iter_sections():
        if isinstance(section, RelocationSection):
            copies = any(entry["r_info_type"] == _COPY_RELOCATION for entry in section.iter_relocations())
            _demand(path, not copies, "it has copy relocations")


def _dynamic_values(elf: ELFFile, tag: str) -> list[str]:
    return [
        getattr(entry, "needed", tag)
        for section in elf.iter_sections()
        if isinstance(section, DynamicSection)
        for entry in section.iter_tags(tag)
    ]


def _demand(path: Path, holds: bool, otherwise: str) -> None:
    if not holds:
        raise LatencyError(f"{path.name} does not run on Android: {otherwise}")
