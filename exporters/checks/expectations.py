"""What a user expects of an export: a sound, signed folder may still be an older one, or of another network."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime

from ..errors import ExportError
from ..passport.passport import PASSPORT, Passport
from .findings import Finding, failed, ok

_DIGEST, _NEWER = "sha256:", "newer-than:"


@dataclass(frozen=True, slots=True)
class Expected:
    """Demands; None where there is none.

    Attributes:
        name: of the network, or the text of its architecture.
        digest: SHA-256 (hex) of `SHA256SUMS` or of `passport.json`: one export and no other.
        newer_than: when it was signed, at the earliest.
    """

    name: str | None = None
    digest: str | None = None
    newer_than: datetime | None = None


def parse_expected(texts: Iterable[str]) -> Expected:
    """Demands from `NAME`, `sha256:DIGEST` and `newer-than:DATE`.

    Raises:
        ExportError: a digest or date that is none, or two demands of one kind.
    """
    found: dict[str, str | datetime] = {}
    for text in texts:
        if text.startswith(_DIGEST):
            kind, value = "digest", text.removeprefix(_DIGEST).lower()
            if not re.fullmatch(r"[0-9a-f]{64}", value):
                raise ExportError(f"'{text}' is no digest: write sha256: and the 64 digits of `sha256sum SHA256SUMS`")
        elif text.startswith(_NEWER):
            kind, value = "newer_than", _moment(text.removeprefix(_NEWER))
        else:
            kind, value = "name", text
        if kind in found:
            raise ExportError(f"'{text}' is a second {kind.replace('_', ' ')}: an export has one")
        found[kind] = value
    return Expected(**found)  # pyright: ignore[reportArgumentType]  # by kind


def check_expected(
    expected: Expected, passport: Passport | None, digests: Iterable[str], *, signer_known: bool
) -> Iterator[Finding]:
    """Whether an export is the one that was asked for.

    Args:
        expected: the demands.
        passport: None where there is none that could be believed.
        digests: of its checksums and of its passport.
        signer_known: whether a signature was checked against allowed signers: else the date is anybody's word.
    """
    if expected.digest is not None:
        if expected.digest in digests:
            yield ok(PASSPORT, "expected digest")
        else:
            yield failed(PASSPORT, "expected digest", "neither SHA256SUMS nor passport.json has the expected digest")
    if expected.name is not None:
        if passport is not None and expected.name in (passport.name, passport.architecture):
            yield ok(PASSPORT, "expected name")
        else:
            called = "nobody can tell what" if passport is None else f"'{passport.name}'"
            yield failed(PASSPORT, "expected name", f"it is of {called}, not of '{expected.name}'")
    if expected.newer_than is not None:
        yield _check_age(expected.newer_than, passport, signer_known)


def _check_age(newer_than: datetime, passport: Passport | None, signer_known: bool) -> Finding:
    what = "expected date"
    if passport is None or passport.signed_at is None:
        return failed(PASSPORT, what, "it does not say when it was signed")
    signed = datetime.strptime(passport.signed_at, "%Y-%m-%dT%H:%M:%S%z")
    if signed < newer_than:
        return failed(PASSPORT, what, f"it was signed at {passport.signed_at}, before {newer_than:%Y-%m-%dT%H:%M:%SZ}")
    if not signer_known:
        return failed(PASSPORT, what, f"anybody may have written {passport.signed_at}: name --allowed-signers too")
    return ok(PASSPORT, what)


def _moment(text: str) -> datetime:
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        raise ExportError(f"'{text}' is no date: write it as 2026-12-01 or 2026-12-01T09:30:00Z") from None
    return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).astimezone(UTC)
