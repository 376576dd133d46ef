"""SHA256SUMS, readable by `sha256sum -c`, and its detached signature, readable by `ssh-keygen -Y verify`."""

from __future__ import annotations

import base64
import binascii
import os
import re
import shutil
import subprocess
import tempfile
import textwrap
from collections.abc import Iterable
from pathlib import Path, PurePosixPath
from typing import Annotated

from pydantic import Field

from ...common.files import sha256_file
from ..errors import ExportError

SUMS = "SHA256SUMS"
SIGNATURE = "SHA256SUMS.sig"
NAMESPACE = "fairnas"
"""What a signature is for: the same key's signature of a mail or a commit is none of an export."""

Sha256 = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]

_LINE = re.compile(r"([0-9a-f]{64})  (.+)")
_PATIENCE_S = 120  # of ssh-keygen, which may wait for somebody to touch a key
_BEGIN, _END = "-----BEGIN SSH SIGNATURE-----", "-----END SSH SIGNATURE-----"


def is_plain_name(name: str) -> bool:
    r"""Whether a name is a relative path without `.`, `..`, backslashes and control characters.

    `sha256sum` would write the last two in its own notation, and the rest could lead out of the folder.
    """
    return (
        bool(name)
        and name.isprintable()
        and "\\" not in name
        and not name.startswith("/")
        and PurePosixPath(name).as_posix() == name
        and not {".", ".."} & set(name.split("/"))
    )


def format_sums(folder: Path, names: Iterable[str]) -> str:
    """Lines of digests and names of files in a folder, sorted by name.

    Raises:
        ExportError: a name that no line can hold.
    """
    ordered = sorted(names)
    for name in ordered:
        if not is_plain_name(name):
            raise ExportError(f"{name!r} cannot be listed in {SUMS}: rename the file")
    return "".join(f"{sha256_file(folder / name)}  {name}\n" for name in ordered)


def parse_sums(content: bytes) -> dict[str, str]:
    """Digests by name, from what `format_sums` wrote and nothing else.

    Raises:
        ExportError: not in that form; names the line.
    """
    try:
        text = content.decode()
    except UnicodeDecodeError as error:
        raise ExportError(f"byte {error.start + 1} is no UTF-8") from None
    if not text.endswith("\n"):
        raise ExportError("its last line has no end")
    digests: dict[str, str] = {}
    for number, line in enumerate(text.removesuffix("\n").split("\n"), start=1):
        match = _LINE.fullmatch(line)
        if match is None:
            raise ExportError(f"line {number} is no digest, two spaces and a name")
        digest, name = match.groups()
        if not is_plain_name(name):
            raise ExportError(f"line {number} names {name!r}, which is no plain path below the folder")
        if digests and name <= next(reversed(digests)):
            raise ExportError(f"line {number}: {name} is not in the order of names, or listed twice")
        digests[name] = digest
    return digests


def sign(content: bytes, key: Path) -> bytes:
    """A detached signature of a file's content, by an ssh key without a passphrase, or one that the agent holds.

    Raises:
        ExportError: ssh-keygen is not installed, or cannot sign with the key.
    """
    return _ssh_keygen(f"cannot sign with {key}", "-Y", "sign", "-f", str(key), "-n", NAMESPACE, content=content)


def fingerprint(key: Path) -> str:
    """`SHA256:...` of an ssh key.

    Raises:
        ExportError: there is no such key, ssh-keygen is not installed, or cannot read it.
    """
    if not key.is_file():
        raise ExportError(f"no ssh key {key}: make one with `ssh-keygen -t ed25519 -f {key}`")
    said = _ssh_keygen(f"cannot read {key}", "-l", "-E", "sha256", "-f", str(key)).decode()
    return next(word for word in said.split() if word.startswith("SHA256:"))


def check_signature(content: bytes, signature: bytes, allowed_signers: Path | None = None) -> tuple[str, str | None]:
    """Whether a signature is one of a file's content.

    Args:
        content: of the file.
        signature: content of the detached signature.
        allowed_signers: who may sign, in the format of ssh-keygen; None asks only that the signature is whole.

    Returns:
        Fingerprint of the key, and who it belongs to, where signers were given.

    Raises:
        ExportError: it is not, or none of the signers made it.
    """
    if _armour(signature) != signature:
        raise ExportError("it is not in the form that ssh-keygen writes")  # which ssh-keygen would let pass
    if allowed_signers is not None and not allowed_signers.is_file():
        raise ExportError(f"there is no file {allowed_signers} of signers")
    with tempfile.NamedTemporaryFile(prefix="fairnas-", suffix=".sig") as file:  # not the one that others may exchange
        file.write(signature)
        file.flush()
        arguments = ("-n", NAMESPACE, "-s", file.name)
        failed = "it is no signature of this content"
        said = _ssh_keygen(failed, "-Y", "check-novalidate", *arguments, content=content).decode()
        key = next((word for word in said.split() if word.startswith("SHA256:")), "")
        if allowed_signers is None:
            return key, None
        who = ("-f", str(allowed_signers))
        unknown = f"made by {key}, who is none of the signers in {allowed_signers}"
        names = _ssh_keygen(unknown, "-Y", "find-principals", "-s", file.name, *who).decode().split("\n")
        _ssh_keygen(unknown, "-Y", "verify", *arguments, *who, "-I", names[0], content=content)
    return key, names[0]


def _armour(content: bytes) -> bytes:
    """The same signature as ssh-keygen writes it, so that no byte of the file is without meaning."""
    inside = content.decode("ascii", errors="replace").removeprefix(_BEGIN).partition(_END)[0]
    try:
        blob = base64.b64decode("".join(inside.split()), validate=True)
    except (binascii.Error, ValueError):
        return b""
    return "\n".join([_BEGIN, *textwrap.wrap(base64.b64encode(blob).decode(), 70), _END, ""]).encode()


def _ssh_keygen(failed: str, *arguments: str, content: bytes = b"") -> bytes:
    program = shutil.which("ssh-keygen")
    if program is None:
        raise ExportError(f"{failed}: ssh-keygen is not installed (Debian: apt-get install openssh-client)")
    # Nobody is there to be asked for a passphrase.
    asks = {"SSH_ASKPASS_REQUIRE": "never", "LC_ALL": "C"}
    try:
        done = subprocess.run(
            [program, *arguments],
            input=content,
            capture_output=True,
            check=False,
            env=os.environ | asks,
            start_new_session=True,
            timeout=_PATIENCE_S,
        )
    except subprocess.TimeoutExpired:
        raise ExportError(f"{failed}: ssh-keygen did not answer within {_PATIENCE_S} s") from None
    if done.returncode:
        lines = [line for line in done.stderr.decode(errors="replace").splitlines() if not line.startswith("Signing")]
        raise ExportError(f"{failed}: {' '.join(' '.join(lines).split()) or 'ssh-keygen says no more'}")
    return done.stdout
