"""Checksums and their signature, against the real `sha256sum` and `ssh-keygen`."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest
from fairnas.exporters import ExportError
from fairnas.exporters.passport.checksums import (
    check_signature,
    fingerprint,
    format_sums,
    is_plain_name,
    parse_sums,
    sign,
)
from hypothesis import given
from hypothesis import strategies as st

needs_ssh = pytest.mark.skipif(
    shutil.which("ssh-keygen") is None, reason="no ssh-keygen on this machine: apt-get install openssh-client"
)

FILES = {"model.onnx": b"a model", "passport.json": b"{}", "part/ü 1.bin": b"", "z": b"z" * 70_000}
SUMS = "".join(f"{'0123456789abcdef' * 4}  {name}\n" for name in sorted(FILES)).encode()


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for name, content in FILES.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes(content)
    (tmp_path / "SHA256SUMS").write_text(format_sums(tmp_path, FILES))
    return tmp_path


@pytest.fixture(scope="module")
def key(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return _new_key(tmp_path_factory.mktemp("keys") / "mine")


def _new_key(path: Path, passphrase: str = "") -> Path:
    command = ["ssh-keygen", "-q", "-t", "ed25519", "-N", passphrase, "-C", "me@example.org", "-f", str(path)]
    subprocess.run(command, check=True)
    return path


def _signers(path: Path, *keys: Path) -> Path:
    path.write_text("".join(f"me@example.org {key.with_suffix('.pub').read_text()}" for key in keys))
    return path


@pytest.mark.skipif(shutil.which("sha256sum") is None, reason="no sha256sum on this machine")
def test_sha256sum_reads_what_is_written(folder: Path) -> None:
    command = ["sha256sum", "--check", "--strict", "SHA256SUMS"]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout.count(": OK")) == (0, len(FILES))
    (folder / "z").write_bytes(b"y")
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert "z: FAILED" in done.stdout


def test_sums_are_read_as_they_were_written(folder: Path) -> None:
    assert list(parse_sums((folder / "SHA256SUMS").read_bytes())) == sorted(FILES)


@pytest.mark.parametrize("name", ["", ".", "..", "../a", "/a", "a/../b", "a//b", "./a", "a/", "a\\b", "a\nb", "a\x00"])
def test_a_name_that_leads_elsewhere_or_cannot_be_written_is_refused(tmp_path: Path, name: str) -> None:
    assert not is_plain_name(name)
    with pytest.raises(ExportError):
        format_sums(tmp_path, [name])
    with pytest.raises(ExportError):
        parse_sums(f"{'0' * 64}  {name}\n".encode())


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"", "no end"),
        (b"\n", "line 1"),
        (SUMS[:-1], "no end"),
        (SUMS + b"\n", "line 5"),
        (SUMS.replace(b"  z", b" *z"), "line 4"),
        (SUMS.replace(b"abcdef", b"ABCDEF"), "line 1"),
        (SUMS.replace(b"\n", b"\r\n"), "line 1"),
        (SUMS + SUMS, "line 5: model.onnx is not in the order"),
        (SUMS + b"0" * 64 + b"  z\n", "line 5: z is not in the order of names, or listed twice"),
        (SUMS.replace(b"z", b"\xff"), "UTF-8"),
    ],
)
def test_what_sums_never_look_like_is_refused_by_line(content: bytes, said: str) -> None:
    with pytest.raises(ExportError, match=said):
        parse_sums(content)


@given(position=st.integers(0, len(SUMS) - 1), flip=st.integers(1, 255))
def test_no_byte_of_the_sums_is_without_meaning(position: int, flip: int) -> None:
    damaged = bytearray(SUMS)
    damaged[position] ^= flip
    try:
        read = parse_sums(bytes(damaged))
    except ExportError:
        return
    assert read != parse_sums(SUMS)


@needs_ssh
def test_a_signature_is_ssh_keygens_and_says_whose_it_is(tmp_path: Path, key: Path) -> None:
    signature = tmp_path / "s.sig"
    signature.write_bytes(sign(SUMS, key))
    signers = _signers(tmp_path / "signers", key)
    assert check_signature(SUMS, signature.read_bytes()) == (fingerprint(key), None)
    assert check_signature(SUMS, signature.read_bytes(), signers) == (fingerprint(key), "me@example.org")
    command = ["ssh-keygen", "-Y", "verify", "-f", str(signers), "-I", "me@example.org", "-n", "fairnas"]
    subprocess.run([*command, "-s", str(signature)], input=SUMS, check=True, stdout=subprocess.DEVNULL)


@needs_ssh
def test_a_signature_of_something_else_or_of_somebody_else_is_refused(tmp_path: Path, key: Path) -> None:
    signature = tmp_path / "s.sig"
    signature.write_bytes(sign(SUMS, key))
    with pytest.raises(ExportError, match="no signature of this content"):
        check_signature(SUMS + b"x", signature.read_bytes())
    other = _new_key(tmp_path / "other")
    with pytest.raises(ExportError, match="none of the signers"):
        check_signature(SUMS, signature.read_bytes(), _signers(tmp_path / "signers", other))
    with pytest.raises(ExportError, match=r"no file .* of signers"):
        check_signature(SUMS, signature.read_bytes(), tmp_path / "nowhere")
    command = ["ssh-keygen", "-Y", "sign", "-f", str(key), "-n", "file"]
    signature.write_bytes(subprocess.run(command, input=SUMS, check=True, capture_output=True).stdout)
    with pytest.raises(ExportError, match="no signature of this content"):
        check_signature(SUMS, signature.read_bytes())


@needs_ssh
def test_no_byte_of_a_signature_is_without_meaning(tmp_path: Path, key: Path) -> None:
    """Also not those that ssh-keygen itself ignores: line ends, and what stands behind the end."""
    good = sign(SUMS, key)
    path = tmp_path / "s.sig"
    for position in range(len(good)):
        damaged = bytearray(good)
        damaged[position] ^= 1
        path.write_bytes(damaged)
        with pytest.raises(ExportError):
            check_signature(SUMS, path.read_bytes())
    for longer in (good + b"\n", good + b"x", b"\n" + good, good.replace(b"\n", b"\r\n"), good[:-1], b""):
        path.write_bytes(longer)
        with pytest.raises(ExportError):
            check_signature(SUMS, path.read_bytes())


@needs_ssh
def test_a_key_that_cannot_sign_is_named_in_a_line_and_nobody_is_asked(tmp_path: Path) -> None:
    locked = _new_key(tmp_path / "locked", passphrase="a long one")
    with pytest.raises(ExportError, match=r"cannot sign with .*locked") as refused:
        sign(SUMS, locked)
    assert "\n" not in str(refused.value)
    with pytest.raises(ExportError, match=r"no ssh key .*nowhere: make one"):
        fingerprint(tmp_path / "nowhere")
