"""What was downloaded is looked at each time that it is used: disks lose bytes, and others may write there."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from fairnas.latency_tables.errors import LatencyError
from fairnas.latency_tables.runner import debian, packages
from fairnas.latency_tables.runner.bundle import load_bundle
from fairnas.latency_tables.runner.packages import Package, fetch

CONTENT = b"a wheel, all of it"
PACKAGE = Package("pypi", "small", "1.0", hashlib.sha256(CONTENT).hexdigest(), 1, "any")


@pytest.fixture
def registry(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """A registry that is asked for nothing but this; gives what it was asked."""
    asked: list[str] = []

    def download(package: Package, what: str, folder: Path) -> Path:
        asked.append(what)
        file = folder / "small.whl"
        file.write_bytes(CONTENT)
        return file

    monkeypatch.setattr(packages, "_download", download)
    return asked


def _longer(kept: Path) -> None:
    kept.write_bytes(CONTENT + b"x")


def _empty(kept: Path) -> None:
    kept.write_bytes(b"")


def _flipped(kept: Path) -> None:
    kept.write_bytes(CONTENT[:-1] + b"x")


def _a_folder(kept: Path) -> None:
    kept.unlink()
    kept.mkdir()


def _a_link(kept: Path) -> None:
    kept.unlink()
    (kept.parent.parent / "elsewhere").write_text("not ours")
    kept.symlink_to(kept.parent.parent / "elsewhere")


def _a_broken_link(kept: Path) -> None:
    kept.unlink()
    kept.symlink_to("nowhere")


@pytest.mark.parametrize("damage", [_longer, _empty, _flipped, _a_folder, _a_link, _a_broken_link])
def test_a_package_that_is_not_the_pinned_one_any_more_is_downloaded_again(
    tmp_path: Path, registry: list[str], damage: Callable[[Path], Any]
) -> None:
    cache, said = tmp_path / "cache", []
    kept = fetch(PACKAGE, cache, said.append)
    assert (kept.read_bytes(), len(registry)) == (CONTENT, 1)
    fetch(PACKAGE, cache, said.append)
    assert len(registry) == len(said) == 1

    damage(kept)
    assert fetch(PACKAGE, cache, said.append).read_bytes() == CONTENT
    assert not kept.is_symlink()
    assert (len(registry), len(said)) == (2, 2)
    assert f"{kept} is damaged: downloading small 1.0" in said[1]
    elsewhere = tmp_path / "elsewhere"
    assert not elsewhere.exists() or elsewhere.read_text() == "not ours"


def test_a_registry_that_gives_something_else_is_not_believed(
    tmp_path: Path, registry: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    other = Package("pypi", "small", "1.0", "0" * 64, 1, "any")
    with pytest.raises(LatencyError, match="is not the file that was pinned"):
        fetch(other, tmp_path, lambda line: None)
    assert not list(tmp_path.iterdir())


@pytest.fixture
def mirror(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Debian, as far as it is asked; gives what was called."""
    called: list[str] = []

    def call(argv: list[str], folder: Path) -> None:
        called.append(argv[0])
        if argv[0] == "dpkg-deb":
            for name in (*debian._LOADERS.values(), *debian._LIBRARIES):
                (Path(argv[-1]) / "lib").mkdir(parents=True, exist_ok=True)
                (Path(argv[-1]) / "lib" / name).write_text(name)

    monkeypatch.setattr(debian, "_call", call)
    monkeypatch.setattr(debian, "_downloaded", lambda architecture, folder: [folder / "libc6.deb"])
    monkeypatch.setattr(debian.shutil, "which", lambda tool: f"/usr/bin/{tool}")
    return called


def test_libraries_that_changed_since_are_taken_again(tmp_path: Path, mirror: list[str]) -> None:
    said: list[str] = []
    kept = debian.system_libraries("x86_64", tmp_path, said.append)
    assert debian.system_libraries("x86_64", tmp_path, said.append) == kept
    assert (len(mirror), len(said)) == (1, 1)
    (kept / "libm.so.6").write_text("something else")
    debian.system_libraries("x86_64", tmp_path, said.append)
    assert (kept / "libm.so.6").read_text() == "libm.so.6"
    assert len(mirror) == 2
    assert said[1] == f"{kept} is damaged: taking its libraries again"
    (kept / "more.so").write_text("which would go into a bundle")
    debian.system_libraries("x86_64", tmp_path, said.append)
    assert not (kept / "more.so").exists()


def test_libraries_from_before_digests_were_kept_are_watched_from_now_on(tmp_path: Path, mirror: list[str]) -> None:
    kept = debian.system_libraries("x86_64", tmp_path, lambda line: None)
    (tmp_path / "glibc-x86_64.json").unlink()
    assert debian.system_libraries("x86_64", tmp_path, lambda line: None) == kept
    assert len(mirror) == 1
    (kept / "libm.so.6").write_text("something else")
    debian.system_libraries("x86_64", tmp_path, lambda line: None)
    assert len(mirror) == 2


@pytest.mark.parametrize("name", ["../victim", "/etc/hostname", "a\nb", "link"])
def test_a_bundle_holds_its_own_files_only(tmp_path: Path, name: str) -> None:
    """They are pushed to devices by name."""
    (tmp_path / "victim").write_text("secret")
    folder = tmp_path / "bundle"
    folder.mkdir()
    (folder / "link").symlink_to(tmp_path / "victim")
    digest = hashlib.sha256(b"secret").hexdigest()
    listed = name.replace("\n", "\\n")
    (folder / "bundle.json").write_text(f'{{"abi": "x86_64", "runtime": "1", "files": {{"{listed}": "{digest}"}}}}')
    with pytest.raises(LatencyError, match="holds no whole bundle"):
        load_bundle(folder)
