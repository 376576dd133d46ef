"""The last files of an export folder: passport, page, checksums, signature."""

from __future__ import annotations

from pathlib import Path

from ..common.files import sha256_file, write_atomic
from .checksums import SIGNATURE, SUMS, fingerprint, format_sums, sign
from .errors import ExportError
from .passport import PASSPORT, Passport
from .passport_page import PAGE, render_passport

CLOSING = (PASSPORT, PAGE, SUMS, SIGNATURE)
"""Files that speak of the others, in the order in which they are written."""


def write_export_folder(folder: Path, passport: Passport, sign_with: Path | None = None) -> Passport:
    """Close a folder that holds every file of a passport and nothing else.

    The checksums come last, each file whole or absent: a folder whose writing was cut short does not verify.

    Args:
        folder: where the files lie. Hidden files are left alone: they are the run's own and will go.
        passport: names them, with sizes and digests.
        sign_with: path of an ssh key; its fingerprint goes into the passport.

    Returns:
        The passport as it was written.

    Raises:
        ExportError: a file is missing or is not what the passport says, another lies there, or the key cannot sign.
    """
    for file in passport.files:
        path = folder / file.path
        if not path.is_file() or (path.stat().st_size, sha256_file(path)) != (file.bytes, file.sha256):
            raise ExportError(f"{path} is missing, or is not the file that its passport is about")
    named = {file.path for file in passport.files}
    if clash := named & set(CLOSING):
        raise ExportError(f"an exported file is called {min(clash)}, as one of the passport's own")
    if strange := _visible_files(folder) - named - set(CLOSING):
        raise ExportError(f"{folder / min(strange)} is of no format in the passport: remove it")

    signer = fingerprint(sign_with) if sign_with else None
    (folder / SIGNATURE).unlink(missing_ok=True)
    (folder / SUMS).unlink(missing_ok=True)
    passport = passport.model_copy(update={"signed_by": signer})
    write_atomic(folder / PASSPORT, passport.to_json())
    write_atomic(folder / PAGE, render_passport(passport))
    sums = format_sums(folder, {*named, PASSPORT, PAGE}).encode()
    # Signed before it is written: a key that cannot sign must not leave a folder that looks whole.
    signature = sign(sums, sign_with) if sign_with else None
    write_atomic(folder / SUMS, sums)
    if signature is not None:
        write_atomic(folder / SIGNATURE, signature)
    return passport


def _visible_files(folder: Path) -> set[str]:
    names = (path.relative_to(folder) for path in folder.rglob("*") if not path.is_dir())
    return {name.as_posix() for name in names if not any(part.startswith(".") for part in name.parts)}
