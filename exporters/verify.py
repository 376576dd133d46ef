"""Checks an export folder again, from its files alone: nothing in them is believed that another file can contradict."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, TypeAlias

from ..common.files import sha256_file
from .checksums import SIGNATURE, SUMS, check_signature, parse_sums
from .errors import ExportError
from .findings import Finding, failed, ok, skipped
from .passport import PASSPORT, ExportedFile, Passport, read_passport
from .passport_page import PAGE
from .verify_models import check_model

Remeasure: TypeAlias = Callable[[Passport, Path], Iterable[Finding]]
"""Measures accuracy again; is given the passport and the folder."""


def verify(folder: Path, *, allowed_signers: Path | None = None, remeasure: Remeasure | None = None) -> list[Finding]:
    """Check everything about an export folder that its files can tell.

    Every file is there with the digest that is listed and none besides; the signature is one; the passport conforms,
    and says the same as the files: sizes, digests, preprocessing, classes, shapes, number of parameters.

    Files whose bytes are wrong are not looked into further: what is in them is anyone's.

    Args:
        folder: as `write_export_folder` left it.
        allowed_signers: a file of ssh-keygen's form, who may have signed; a folder without a signature fails then.
        remeasure: is called once the files are known to be whole.

    Raises:
        ExportError: there is no such folder, or nothing in it that could be checked.
    """
    if not folder.is_dir():
        raise ExportError(f"no folder {folder}")
    if not (folder / PASSPORT).is_file() and not (folder / SUMS).is_file():
        raise ExportError(f"{folder} is no export: it has neither {PASSPORT} nor {SUMS}")
    if not (folder / SUMS).exists() and (old := _read_version_1(folder / PASSPORT)) is not None:
        return [*_check_version_1(folder, old), *_check_signature(folder, allowed_signers)]

    findings = [*_check_bytes(folder), *_check_signature(folder, allowed_signers)]
    whole = {f.file for f in findings if f.outcome == "ok"} - failures(findings)
    if PASSPORT not in whole:
        unread = "its bytes are not those that were exported, so nothing else is read from it"
        return [*findings, skipped(PASSPORT, "content", unread)]
    try:
        passport = read_passport((folder / PASSPORT).read_bytes())
    except ExportError as error:
        return [*findings, failed(PASSPORT, "schema", str(error))]
    findings += [ok(PASSPORT, "schema"), *_check_passport(folder, passport)]
    for record in passport.formats:
        for position, file in enumerate(record.files):
            if file.path not in whole:
                findings.append(skipped(file.path, "content", "its bytes are not those that were exported"))
            else:
                findings += check_model(folder / file.path, file.path, record, passport, is_model=position == 0)
    if remeasure is None:
        findings.append(skipped(PASSPORT, "accuracy", "no images were given to measure it again"))
    elif failures(findings):
        findings.append(skipped(PASSPORT, "accuracy", "the files must be whole first"))
    else:
        findings += remeasure(passport, folder)
    return findings


def failures(findings: Sequence[Finding]) -> set[str]:
    """Names of the files that failed a check."""
    return {finding.file for finding in findings if finding.outcome == "failed"}


def require_sound(findings: Sequence[Finding]) -> None:
    """Raise unless nothing failed.

    Raises:
        ExportError: names each file that failed, and why, in one line.
    """
    wrong = [f"{finding.file}: {finding.reason}" for finding in findings if finding.outcome == "failed"]
    if wrong:
        raise ExportError("; ".join(wrong))


def _check_bytes(folder: Path) -> Iterator[Finding]:
    """Digests of all listed files, and files that are not listed."""
    if (folder / SUMS).is_symlink():
        yield failed(SUMS, "form", "it is a link")
        return
    try:
        listed = parse_sums((folder / SUMS).read_bytes())
    except OSError:
        yield failed(SUMS, "presence", "it is missing")
        return
    except ExportError as error:
        yield failed(SUMS, "form", str(error))
        return
    yield ok(SUMS, "form")
    for name, digest in listed.items():
        path = folder / name
        if _leaves(folder, path) or (path.exists() and not path.is_file()):
            yield failed(name, "bytes", "it is a link or no file")
        elif not path.exists():
            yield failed(name, "bytes", f"it is listed in {SUMS} and missing")
        elif (found := sha256_file(path)) != digest:
            yield failed(name, "bytes", f"its SHA-256 is {found[:10]}..., {SUMS} lists {digest[:10]}...")
        else:
            yield ok(name, "bytes")
    for name in sorted(_entries(folder) - listed.keys() - {SUMS, SIGNATURE}):
        yield failed(name, "listing", f"it is in the folder and not in {SUMS}")
    for name in (PASSPORT, PAGE):
        if name not in listed:
            yield failed(name, "listing", f"{SUMS} does not list it")


def _entries(folder: Path) -> set[str]:
    """Everything below a folder but folders; links count as what they are."""
    paths = (path for path in folder.rglob("*") if path.is_symlink() or not path.is_dir())
    return {path.relative_to(folder).as_posix() for path in paths}


def _leaves(folder: Path, path: Path) -> bool:
    """Whether a path goes through a link."""
    steps = [path, *path.parents]
    return any(step.is_symlink() for step in steps[: steps.index(folder)])


def _check_signature(folder: Path, allowed_signers: Path | None) -> Iterator[Finding]:
    path = folder / SIGNATURE
    if path.is_symlink() or not path.is_file():
        if allowed_signers is None:
            yield skipped(SIGNATURE, "signature", "there is none")
        else:
            yield failed(SIGNATURE, "signature", "there is none, and signers were named")
        return
    try:
        key, who = check_signature((folder / SUMS).read_bytes(), path, allowed_signers)
    except FileNotFoundError:
        yield failed(SIGNATURE, "signature", f"{SUMS}, which it signs, is missing")
    except ExportError as error:
        yield failed(SIGNATURE, "signature", str(error))
    else:
        whose = f"{who}, {key}" if who else f"{key}; whose that is, --allowed-signers would tell"
        yield Finding(SIGNATURE, "signature", "ok", f"by {whose}")


def _check_passport(folder: Path, passport: Passport) -> Iterator[Finding]:
    """What the passport says about the folder as a whole."""
    listed = parse_sums((folder / SUMS).read_bytes())
    yield from _check_files(folder, passport.files)
    for name in sorted(listed.keys() - {file.path for file in passport.files} - {PASSPORT, PAGE}):
        yield failed(name, "passport", f"it belongs to no format in {PASSPORT}")
    digest = listed[PASSPORT]
    page = folder / PAGE
    if page.is_file() and digest not in page.read_text(encoding="utf-8", errors="replace"):
        yield failed(PAGE, "passport", f"it was not made from this {PASSPORT}")
    elif page.is_file():
        yield ok(PAGE, "passport")
    if passport.signed_by is None:
        return
    if not (folder / SIGNATURE).is_file():
        yield failed(SIGNATURE, "signer", f"it is missing: {PASSPORT} says that {passport.signed_by} signed")
        return
    try:
        key, _ = check_signature((folder / SUMS).read_bytes(), folder / SIGNATURE)
    except ExportError:
        return  # has been told
    if key == passport.signed_by:
        yield ok(SIGNATURE, "signer")
    else:
        yield failed(SIGNATURE, "signer", f"{key} signed, {PASSPORT} says {passport.signed_by}")


def _check_files(folder: Path, files: Iterable[ExportedFile]) -> Iterator[Finding]:
    """Sizes and digests as the passport has them."""
    for file in files:
        path = folder / file.path
        if _leaves(folder, path) or not path.is_file():
            yield failed(file.path, "passport", f"it is named in {PASSPORT} and missing")
        elif path.stat().st_size != file.bytes:
            yield failed(file.path, "passport", f"it has {path.stat().st_size} bytes, {PASSPORT} says {file.bytes}")
        elif sha256_file(path) != file.sha256:
            yield failed(file.path, "passport", f"its SHA-256 is not that of {PASSPORT}")
        else:
            yield ok(file.path, "passport")


def _read_version_1(path: Path) -> Any:
    """A passport of schema version 1, from before there were checksums; None where it is of another, or none."""
    try:
        content = json.loads(path.read_bytes())
    except (OSError, ValueError, RecursionError):
        return None
    return content if isinstance(content, dict) and content.get("schema_version") == 1 else None


def _check_version_1(folder: Path, content: dict[str, Any]) -> Iterator[Finding]:
    try:
        keys = ("path", "bytes", "sha256")
        files = [ExportedFile(**{key: file[key] for key in keys}) for file in content["files"]]
    except (KeyError, TypeError, ValueError):
        yield failed(PASSPORT, "schema", "a damaged passport of schema version 1: export again")
        return
    yield skipped(
        PASSPORT, "schema", "schema version 1, from before there were checksums: only its files' bytes are checked"
    )
    yield from _check_files(folder, files)
    for name in sorted(_entries(folder) - {file.path for file in files} - {PASSPORT, SIGNATURE}):
        yield failed(name, "listing", f"it is in the folder and not in {PASSPORT}")
