"""Text from outside, made safe to show: on a terminal, in a log, in one line."""

from __future__ import annotations

import re

from rich.markup import escape

# A password before the host, or as a value of a query: what storage URLs carry.
_SECRETS = (
    re.compile(r"(?P<before>\b[a-z][a-z0-9+.-]*://[^\s/@:]*:)[^\s@]*(?P<after>@)", re.IGNORECASE),
    re.compile(r"(?P<before>\b(?:password|passwd|pwd|sslpassword|token)=)[^\s&'\"\])]+(?P<after>)", re.IGNORECASE),
)


def redacted(text: str) -> str:
    """The text without the passwords of URLs in it."""
    for pattern in _SECRETS:
        text = pattern.sub(r"\g<before>***\g<after>", text)
    return text


def plain(text: str) -> str:
    r"""The text with whatever a terminal would act upon written out, as `\x1b` or `\n`, and no half characters."""
    return "".join(character if character.isprintable() else _written_out(character) for character in text)


def shown(value: object) -> str:
    """Anything as rich may print it: in one line, without passwords, its brackets no markup."""
    return escape(plain(redacted(str(value))))


def _written_out(character: str) -> str:
    if "\udc80" <= character <= "\udcff":  # a byte of a file name that is not UTF-8
        return f"\\x{ord(character) - 0xDC00:02x}"
    return character.encode("unicode_escape").decode()
