"""The last files of an export folder: passport, page, checksums, signature."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
from pydantic import ValidationError

from ...common.files import sha256_file, write_atomic
from ..checks.model_facts import RECIPE, probe_images
from ..errors import ExportError
from ..formats import format_of_file
from .checksums import SIGNATURE, SUMS, fingerprint, format_sums, sign
from .page import PAGE, page_maker, render_passport
from .passport import PASSPORT, Passport
from .records import AnswerRecord, FileFacts, FormatRecord, ProbeRecord

CLOSING = (PASSPORT, PAGE, SUMS, SIGNATURE)
"""Files that speak of the others, in the order in which they are written."""


def write_export_folder(folder: Path, passport: Passport, sign_with: Path | None = None) -> Passport:
    """Close a folder that holds every file of a passport and nothing else.

    The checksums come last, each file whole or absent: a folder whose writing was cut short does not verify.

    Args:
        folder: where the files lie. Hidden files are left alone: they are the run's own and will go.
        passport: names them, with sizes and digests.
        sign_with: path of an ssh key; its fingerprint goes into the passport, with the time.

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
    require_no_others(folder, named)

    signer = fingerprint(sign_with) if sign_with else None
    (folder / SIGNATURE).unlink(missing_ok=True)
    (folder / SUMS).unlink(missing_ok=True)
    passport = passport.model_copy(
        update={
            **_looked_into(folder, passport),
            "signed_by": signer,
            "signed_at": datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ") if signer else None,
            "page": page_maker(),
        }
    )
    write_atomic(folder / PASSPORT, passport.to_json())
    write_atomic(folder / PAGE, render_passport(passport))
    sums = format_sums(folder, {*named, PASSPORT, PAGE}).encode()
    # Signed before it is written: a key that cannot sign must not leave a folder that looks whole.
    signature = sign(sums, sign_with) if sign_with else None
    write_atomic(folder / SUMS, sums)
    if signature is not None:
        write_atomic(folder / SIGNATURE, signature)
    return passport


def require_no_others(folder: Path, named: Iterable[str] = ()) -> None:
    """Refuse visible files that would be handed over with the others, unchecked.

    Args:
        folder: of an export.
        named: files that belong there, besides those that close it.

    Raises:
        ExportError: another file lies there.
    """
    if strange := _visible_files(folder).difference(named, CLOSING):
        raise ExportError(f"{folder / min(strange)} is none of the files that are exported: move it elsewhere")


def _visible_files(folder: Path) -> set[str]:
    names = (path.relative_to(folder) for path in folder.rglob("*") if not path.is_dir())
    return {name.as_posix() for name in names if not any(part.startswith(".") for part in name.parts)}


def _looked_into(folder: Path, passport: Passport) -> dict[str, object]:
    """The probe, and the formats with what their files themselves hold and answer to it."""
    images = probe_images(passport.resolution, passport.preprocessing.mean, passport.preprocessing.std)
    formats = [_with_facts(folder, record, passport, images) for record in passport.formats]
    return {"probe": ProbeRecord(recipe=RECIPE, sha256=digest_of_images(images)), "formats": formats}


def digest_of_images(images: np.ndarray) -> str:
    """SHA-256 of the images' numbers, float32, little end first."""
    return hashlib.sha256(images.astype("<f4").tobytes()).hexdigest()


def _with_facts(folder: Path, record: FormatRecord, passport: Passport, images: np.ndarray) -> FormatRecord:
    if not record.files:
        return record
    path = folder / record.files[0].path
    form = format_of_file(record.format, path.suffix)
    facts = form.holds(path.read_bytes(), passport, images) if form is not None else None
    if facts is None:
        return record
    if "numbers" not in facts:  # it could not be loaded, which its status tells
        return record.model_copy(update={"holds": None})
    answer = facts["answer"]
    kept = {name: facts[name] for name in ("numbers", "tensors", "madds", "inputs", "outputs")}
    try:
        holds = FileFacts(
            **kept,
            network_params=passport.params,
            network_madds=passport.madds,
            answer=None if "problem" in answer else AnswerRecord(**answer),
        )
    except ValidationError:  # sizes that no file of ours has
        return record.model_copy(update={"holds": None})
    return record.model_copy(update={"holds": holds})
