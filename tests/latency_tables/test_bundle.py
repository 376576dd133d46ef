"""Bundles: built for real, kept whole whatever happens, and refused where a device would refuse them."""

from __future__ import annotations

import os
import shutil
import signal
import struct
import subprocess
import sys
import time
import zipfile
from dataclasses import replace
from pathlib import Path

import pytest
from fairnas.latency_tables.errors import LatencyError
from fairnas.latency_tables.runner.bundle import ABIS, Bundle, build_bundle, copy_bundle, load_bundle
from fairnas.latency_tables.runner.packages import Package, fetch, unpack
from fairnas.latency_tables.runner.toolchain import Compiler, ingredients

elffile = pytest.importorskip("elftools.elf.elffile", reason="needs fairnas[bundle]")

from fairnas.latency_tables.runner.elf import check_android_library, check_android_program, runtime_version  # noqa: E402

USER_CACHE = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "fairnas"
SMALL = Package(
    registry="pypi",
    name="iniconfig",
    version="2.1.0",
    sha256="9deba5723312380e77435581c6bf4935c94cbfab9b1ed33ef8d238ea168eb760",
    megabytes=0,
    platform="any",
)


def silently(text: str) -> None:
    pass


@pytest.fixture(scope="session")
def bundle() -> Bundle:
    try:
        return build_bundle("x86_64")
    except LatencyError as error:
        pytest.skip(str(error))


@pytest.fixture(scope="session")
def compiler() -> Compiler:
    try:
        return Compiler(USER_CACHE / "bundles/zig")
    except LatencyError as error:
        pytest.skip(str(error))


@pytest.fixture(scope="session")
def android_program(compiler: Compiler, tmp_path_factory: pytest.TempPathFactory) -> Path:
    program = tmp_path_factory.mktemp("android") / "fairnas-runner"
    compiler.android_runner(program)
    return program


@pytest.fixture
def cache(bundle: Bundle, tmp_path: Path) -> Path:
    """A cache with the downloads and zig's files, without a bundle."""
    own = tmp_path / "cache"
    (own / "bundles").mkdir(parents=True)
    for part in ("packages", "zig"):
        (own / "bundles" / part).symlink_to(bundle.folder.parent / part)
    return own


def test_the_manifest_lists_what_lies_in_the_folder(bundle: Bundle) -> None:
    assert sorted(bundle.files) == ["fairnas-runner", "libonnxruntime.so"]
    assert {path.name for path in bundle.folder.iterdir()} == {*bundle.files, "bundle.json"}
    assert load_bundle(bundle.folder) == bundle
    assert bundle.runtime == runtime_version(bundle.folder / "libonnxruntime.so")


def test_a_second_build_comes_from_the_cache(bundle: Bundle) -> None:
    said: list[str] = []

    assert build_bundle("x86_64", progress=said.append) == bundle
    assert said == []


def test_the_same_sources_give_the_same_bytes_in_another_cache(bundle: Bundle, cache: Path) -> None:
    said: list[str] = []

    again = build_bundle("x86_64", cache=cache, progress=said.append)

    assert again.digest == bundle.digest
    assert again.folder.is_relative_to(cache)
    assert said == ["compiling the runner for x86_64"]


@pytest.mark.parametrize("damage", ["changed", "removed", "manifest"])
def test_a_damaged_bundle_is_built_again(bundle: Bundle, cache: Path, damage: str) -> None:
    built = build_bundle("x86_64", cache=cache)
    runner = built.folder / "fairnas-runner"
    if damage == "changed":
        runner.write_bytes(b"#!/bin/sh\n")
    elif damage == "removed":
        runner.unlink()
    else:
        (built.folder / "bundle.json").write_text("{")
    with pytest.raises(LatencyError):
        load_bundle(built.folder)

    assert build_bundle("x86_64", cache=cache).digest == bundle.digest


@pytest.mark.parametrize("moment_s", [0.2, 0.8, 2.0])
def test_a_killed_build_leaves_nothing_half_made(bundle: Bundle, cache: Path, moment_s: float) -> None:
    code = "import sys, pathlib; from fairnas.latency_tables.runner.bundle import build_bundle as b; print(flush=True);"
    code += "b('x86_64', cache=pathlib.Path(sys.argv[1]))"
    process = subprocess.Popen([sys.executable, "-c", code, str(cache)], stdout=subprocess.PIPE, start_new_session=True)
    assert process.stdout
    process.stdout.readline()
    time.sleep(moment_s)
    os.killpg(process.pid, signal.SIGKILL)
    process.communicate()

    whole = [load_bundle(folder) for folder in (cache / "bundles").glob("x86_64-*")]
    built = build_bundle("x86_64", cache=cache)

    assert all(left == built for left in whole)
    assert built.digest == bundle.digest
    assert not list((cache / "bundles").glob(".*"))


def test_a_bundle_can_be_carried_away_once(bundle: Bundle, tmp_path: Path) -> None:
    carried = copy_bundle(bundle, tmp_path / "away/x86_64")

    assert carried.digest == bundle.digest
    assert load_bundle(carried.folder) == carried
    with pytest.raises(LatencyError, match="is there already: name a new folder"):
        copy_bundle(bundle, carried.folder)


def test_the_command_uses_the_loader_that_the_bundle_carries(bundle: Bundle) -> None:
    with_loader = replace(bundle, files={**bundle.files, "ld-linux-x86-64.so.2": "0" * 64})

    assert bundle.command("/d") == ["/d/fairnas-runner", "--library", "/d/libonnxruntime.so"]
    assert with_loader.command("/d") == ["/d/ld-linux-x86-64.so.2", "--library-path", "/d", *bundle.command("/d")]
    assert with_loader.digest != bundle.digest


def test_a_cache_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").touch()

    with pytest.raises(LatencyError, match=r"^cannot build a bundle in .*/file/bundles: Not a directory$"):
        build_bundle("x86_64", cache=tmp_path / "file")


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        ({"abi": "armeabi-v7a"}, "there is no bundle for 'armeabi-v7a': choose one of arm64-v8a, aarch64, x86_64"),
        ({"abi": "aarch64", "ort_aar": Path("x.aar")}, "an AAR is for Android phones"),
        ({"abi": "arm64-v8a", "with_loader": True}, "a bundle for Android uses the phone's own loader"),
        ({"abi": "arm64-v8a", "ort_aar": Path("nowhere.aar")}, "there is no AAR nowhere.aar"),
    ],
)
def test_bundles_that_cannot_be_are_refused(arguments: dict, reason: str, tmp_path: Path) -> None:
    with pytest.raises(LatencyError, match=f"^{reason}"):
        build_bundle(**arguments, cache=tmp_path)
    assert not list(tmp_path.iterdir())


def test_the_android_program_has_the_facts_that_phones_ask_for(android_program: Path) -> None:
    check_android_program(android_program)


def test_the_android_program_asks_for_nothing_outside_its_lists(android_program: Path) -> None:
    named = {name for path in ingredients() if path.suffix == ".symbols" for name in path.read_text().split()}
    with android_program.open("rb") as file:
        symbols = elffile.ELFFile(file).get_section_by_name(".dynsym")
        asked = {symbol.name for symbol in symbols.iter_symbols() if symbol["st_shndx"] == "SHN_UNDEF" and symbol.name}

    assert asked <= named


def test_four_kilobyte_pages_are_refused(android_program: Path, tmp_path: Path) -> None:
    program = Path(shutil.copy(android_program, tmp_path))
    with program.open("r+b") as file:
        elf = elffile.ELFFile(file)
        place = next(i for i, part in enumerate(elf.iter_segments()) if part["p_type"] == "PT_LOAD")
        file.seek(elf["e_phoff"] + place * elf["e_phentsize"] + 48)  # p_align
        file.write(struct.pack("<Q", 4096))

    with pytest.raises(LatencyError, match="does not run on Android: it is laid out for 4096-byte pages"):
        check_android_program(program)


def test_copy_relocations_are_refused(android_program: Path, tmp_path: Path) -> None:
    program = Path(shutil.copy(android_program, tmp_path))
    with program.open("r+b") as file:
        file.seek(elffile.ELFFile(file).get_section_by_name(".rela.plt")["sh_offset"] + 8)  # r_info: type, symbol
        file.write(struct.pack("<I", 1024))

    with pytest.raises(LatencyError, match="does not run on Android: it has copy relocations"):
        check_android_program(program)


def test_another_interpreter_is_refused(android_program: Path, tmp_path: Path) -> None:
    program = tmp_path / "fairnas-runner"
    program.write_bytes(android_program.read_bytes().replace(b"/system/bin/linker64", b"/lib/ld-linux.so.1\0\0"))

    with pytest.raises(LatencyError, match="does not run on Android: its interpreter is"):
        check_android_program(program)


def test_a_library_that_phones_do_not_have_is_refused(android_program: Path, tmp_path: Path) -> None:
    program = tmp_path / "fairnas-runner"
    program.write_bytes(android_program.read_bytes().replace(b"\0libdl.so\0", b"\0libxy.so\0"))

    with pytest.raises(LatencyError, match=r"does not run on Android: it needs \['libxy.so'\]"):
        check_android_library(program)
    with pytest.raises(LatencyError, match=r"does not run on Android: it needs .*libxy.so"):
        check_android_program(program)


def test_a_program_for_glibc_is_no_program_for_android(bundle: Bundle) -> None:
    with pytest.raises(LatencyError, match=r"its interpreter is \['/lib64/ld-linux-x86-64.so.2'\]"):
        check_android_program(bundle.folder / "fairnas-runner")


def test_an_aar_with_a_library_for_other_systems_is_refused(bundle: Bundle, cache: Path, tmp_path: Path) -> None:
    aar = tmp_path / "own.aar"
    with zipfile.ZipFile(aar, "w") as archive:
        archive.write(bundle.folder / "libonnxruntime.so", "jni/arm64-v8a/libonnxruntime.so")

    with pytest.raises(LatencyError, match=r"^libonnxruntime.so does not run on Android: it needs"):
        build_bundle("arm64-v8a", ort_aar=aar, cache=cache)
    assert not list((cache / "bundles").glob("arm64*"))


@pytest.mark.parametrize("content", ["nothing", "other"])
def test_an_aar_without_the_library_is_refused(content: str, tmp_path: Path, compiler: Compiler) -> None:
    aar = tmp_path / "own.aar"
    if content == "nothing":
        aar.write_bytes(b"no zip at all")
    else:
        with zipfile.ZipFile(aar, "w") as archive:
            archive.writestr("classes.jar", b"")

    with pytest.raises(LatencyError, match=r"own\.aar (holds no jni/arm64-v8a|is not a whole zip)"):
        build_bundle("arm64-v8a", ort_aar=aar, cache=tmp_path / "cache")


def test_the_android_bundle_is_whole() -> None:
    if not any((USER_CACHE / "bundles").glob("arm64-v8a-*")):
        pytest.skip("needs a download of 150 MB: run `fairnas device bundle --abi arm64-v8a` once")
    bundle = build_bundle("arm64-v8a")

    check_android_program(bundle.folder / "fairnas-runner")
    check_android_library(bundle.folder / "libonnxruntime.so")
    assert sorted(bundle.files) == ["fairnas-runner", "libonnxruntime.so"]
    assert bundle.abi in ABIS


def test_a_package_is_downloaded_once_and_another_file_is_refused(tmp_path: Path) -> None:
    said: list[str] = []
    try:
        file = fetch(SMALL, tmp_path, said.append)
    except LatencyError as error:
        if "cannot download" in str(error):
            pytest.skip(str(error))
        raise
    assert fetch(SMALL, tmp_path, said.append) == file
    assert said == ["downloading iniconfig 2.1.0 from pypi (0 MB)"]
    unpack(file, "iniconfig/__init__.py", tmp_path / "module.py")
    assert (tmp_path / "module.py").stat().st_size > 0

    with pytest.raises(LatencyError, match=r"^iniconfig 2.1.0 from pypi is not the file that was pinned"):
        fetch(replace(SMALL, sha256="0" * 64), tmp_path, silently)
    assert {path.name for path in tmp_path.iterdir()} == {SMALL.sha256, "module.py"}


def test_a_package_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(LatencyError, match=r"^cannot download iniconfig 0.0.0 from pypi: ") as caught:
        fetch(replace(SMALL, version="0.0.0", sha256="1" * 64), tmp_path, silently)
    assert "\n" not in str(caught.value)
