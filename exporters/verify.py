"""Checks an export folder again, from its files alone: nothing in them is believed that another file can contradict."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, TypeAlias

from ..common.errors import UnreadableFile
from ..common.reading import parse_json
from ..common.text import plain
from .checks.cost import check_cost
from .checks.expectations import Expected, check_expected
from .checks.findings import Finding, failed, ok, skipped
from .checks.model_process import seconds_for
from .checks.models import check_model, check_probe
from .checks.page import check_page
from .errors import ExportError
from .passport.checksums import SIGNATURE, SUMS, check_signature
from .passport.folder_bytes import FolderBytes, check_bytes, read_regular, why_not_regular
from .passport.page import PAGE
from .passport.passport import PASSPORT, Passport, read_passport
from .passport.version_1 import check_version_1

Remeasure: TypeAlias = Callable[[Passport, Path], Iterable[Finding]]
"""Measures accuracy again; is given the passport and the folder."""

_MOST_NAMED = 10


def verify(
    folder: Path,
    *,
    allowed_signers: Path | None = None,
    expected: Expected | None = None,
    remeasure: Remeasure | None = None,
    seconds: float | None = None,
) -> list[Finding]:
    """Check everything about an export folder that its files can tell.

    Every file is there with the digest that is listed and none besides; the signature is one; the passport conforms,
    its page is the one that it makes, and it says the same as the files: sizes, digests, preprocessing, classes,
    shapes, what they hold, what they answer.

    Files whose bytes are wrong are not looked into further: what is in them is anyone's. Models are run in processes of
    their own, for a bounded time.

    Args:
        folder: as `write_export_folder` left it.
        allowed_signers: a file of ssh-keygen's form, who may have signed; a folder without a signature fails then.
        expected: which export it must be.
        remeasure: is called once the files are known to be whole.
        seconds: how long each model may take; by default what its passport's multiply-adds suggest, at most 2 minutes.

    Raises:
        ExportError: there is no such folder, or nothing in it that could be checked.
    """
    if not folder.is_dir():
        raise ExportError(f"no folder {folder}")
    if not any(os.path.lexists(folder / name) for name in (PASSPORT, SUMS)):
        raise ExportError(f"{folder} is no export: it has neither {PASSPORT} nor {SUMS}")
    if not os.path.lexists(folder / SUMS) and (old := _read_version_1(folder)) is not None:
        findings = list(check_version_1(folder, old))
        return [*findings, *_demand_nothing_of_version_1(allowed_signers, expected)]

    found = check_bytes(folder)
    signature = _Signature(folder, found, allowed_signers)
    findings = [*found.findings, *signature.findings]
    content = found.contents.get(PASSPORT)
    passport = None
    if content is None:
        unread = "its bytes are not those that were exported, so nothing else is read from it"
        findings.append(skipped(PASSPORT, "content", unread))
    else:
        try:
            passport = read_passport(content)
        except ExportError as error:
            findings.append(failed(PASSPORT, "schema", str(error)))
    if expected is not None:
        digests = [hashlib.sha256(each).hexdigest() for each in (found.sums, content) if each is not None]
        findings += check_expected(expected, passport, digests, signer_known=signature.known)
    if passport is None or content is None:
        return findings
    findings += [ok(PASSPORT, "schema"), *_check_passport(found, passport, content), *signature.check_named(passport)]
    findings += _check_models(folder, found, passport, seconds)
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


def failed_names(findings: Sequence[Finding]) -> str:
    """The same for one line: the first of them, and how many more there are."""
    names = sorted(failures(findings))
    more = f" and {len(names) - _MOST_NAMED} more" if len(names) > _MOST_NAMED else ""
    return ", ".join(plain(name) for name in names[:_MOST_NAMED]) + more


def require_sound(findings: Sequence[Finding]) -> None:
    """Raise unless nothing failed.

    Raises:
        ExportError: names each file that failed, and why, in one line.
    """
    wrong = [f"{plain(finding.file)}: {finding.reason}" for finding in findings if finding.outcome == "failed"]
    if wrong:
        raise ExportError("; ".join(wrong))


class _Signature:
    """The signature of the checksums.

    Attributes:
        findings: of it.
        known: whether one of the allowed signers made it.
    """

    def __init__(self, folder: Path, found: FolderBytes, allowed_signers: Path | None) -> None:
        self._key: str | None = None
        self._there = os.path.lexists(folder / SIGNATURE)
        self.known = False
        self.findings = [self._check(folder, found.sums, allowed_signers)]

    def _check(self, folder: Path, sums: bytes | None, allowed_signers: Path | None) -> Finding:
        what = "signature"
        if not self._there and allowed_signers is None:
            return skipped(SIGNATURE, what, "there is none")
        if not self._there:
            return failed(SIGNATURE, what, "there is none, and signers were named")
        try:
            signature = read_regular(folder, SIGNATURE)
            if sums is None:
                return failed(SIGNATURE, what, f"{SUMS}, which it signs, is missing or cannot be read")
            self._key, who = check_signature(sums, signature, allowed_signers)
        except (UnreadableFile, ExportError) as error:
            return failed(SIGNATURE, what, str(error))
        if who is None:
            reason = f"signed by {self._key}, not checked against anybody: name --allowed-signers"
            return Finding(SIGNATURE, what, "unknown", reason)
        self.known = True
        return Finding(SIGNATURE, what, "ok", f"by {who}, {self._key}")

    def check_named(self, passport: Passport) -> Iterator[Finding]:
        """Whether it is by whom the passport names."""
        named = passport.signed_by
        if named is not None and not self._there:
            yield failed(SIGNATURE, "signer", f"it is missing: {PASSPORT} says that {named} signed")
        elif named is None or self._key is None:
            return  # nothing is said, or it has been told what is wrong with it
        elif self._key != named:
            yield failed(SIGNATURE, "signer", f"{self._key} signed, {PASSPORT} says {named}")
        else:
            yield Finding(SIGNATURE, "signer", "ok" if self.known else "unknown", f"the key that {PASSPORT} names")


def _check_passport(found: FolderBytes, passport: Passport, content: bytes) -> Iterator[Finding]:
    """What the passport says about the folder as a whole."""
    for file in passport.files:
        if file.path not in found.listed:
            yield failed(file.path, "passport", f"it is named in {PASSPORT}, and {SUMS} does not list it")
        elif found.listed[file.path] != file.sha256:
            yield failed(file.path, "passport", f"its SHA-256 in {SUMS} is not that of {PASSPORT}")
    for name in sorted(found.listed.keys() - {file.path for file in passport.files} - {PASSPORT, PAGE}):
        yield failed(name, "passport", f"it belongs to no format in {PASSPORT}")
    if (page := found.contents.get(PAGE)) is not None:
        yield check_page(page, content, passport)
    yield from check_cost(passport)
    yield from check_probe(passport)


def _check_models(folder: Path, found: FolderBytes, passport: Passport, seconds: float | None) -> Iterator[Finding]:
    """What each file of each format holds."""
    given = seconds_for(passport.madds) if seconds is None else seconds
    wrong = failures(found.findings)
    for record in passport.formats:
        for position, file in enumerate(record.files):
            there = why_not_regular(folder, file.path) is None
            if there and (size := (folder / file.path).lstat().st_size) != file.bytes:
                yield failed(file.path, "passport", f"it has {size} bytes, {PASSPORT} says {file.bytes}")
                continue
            if file.path in wrong or found.listed.get(file.path) != file.sha256:
                yield skipped(file.path, "content", "its bytes are not those that were exported")
                continue
            yield ok(file.path, "passport")
            yield from check_model(folder / file.path, file, record, passport, given, is_model=position == 0)


def _read_version_1(folder: Path) -> dict[str, Any] | None:
    """A passport of schema version 1, from before there were checksums; None where it is of another, or none."""
    try:
        content = parse_json(read_regular(folder, PASSPORT).decode(), PASSPORT)
    except (UnreadableFile, UnicodeDecodeError):
        return None
    return content if isinstance(content, dict) and content.get("schema_version") == 1 else None


def _demand_nothing_of_version_1(allowed_signers: Path | None, expected: Expected | None) -> Iterator[Finding]:
    if allowed_signers is not None:
        yield failed(SIGNATURE, "signature", "there is none, and signers were named")
    else:
        yield skipped(SIGNATURE, "signature", "there is none")
    if expected is not None:
        yield from check_expected(expected, None, (), signer_known=False)
