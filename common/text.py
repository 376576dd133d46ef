"""Text from outside, made safe to show: on a terminal, in a log, in one line."""

from __future__ import annotations

import re

from rich.markup import escape

# A password before the host, or as a value of a query: what storage URLs carry. One that is not escaped holds anything.
_SECRETS = (
    re.compile(r"(?P<before>\b[a-z][a-z0-9+.-]*://[^\s/@:]*:)\S*(?P<after>@)", re.IGNORECASE),
    re.compile(r"(?P<before>\b(?:password|passwd|pwd|sslpassword|token)=)[^\s&'\"\])]+(?P<after>)", re.IGNORECASE),
)


_SHORTEST_SECRET = 4  # what is shorter is part of any text
_hidden: set[str] = set()


def hide(secret: str) -> None:
    """Never show this text, whoever says it: a password that this process was given."""
    if len(secret) >= _SHORTEST_SECRET:
        _hidden.add(secret)


def redacted(text: str) -> str:
    """The text without the passwords of URLs in it, and without those that are hidden."""
    for secret in sorted(_hidden, key=len, reverse=True):
        text = text.replace(secret, "***")
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
