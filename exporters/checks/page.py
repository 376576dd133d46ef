"""Does the page say what the passport says? It is made again and compared."""

from __future__ import annotations

import hashlib
import re
from html.parser import HTMLParser

from ..passport.page import PAGE, page_maker, render_passport
from ..passport.passport import PASSPORT, Passport
from .findings import Finding, failed, ok, skipped

_NUMBER = re.compile(r"[0-9][0-9.,:a-f]*[0-9a-f]|[0-9]")
_STRANGE_TAGS = frozenset({"script", "iframe", "object", "embed", "form", "base", "img", "svg"})


def check_page(page: bytes, content: bytes, passport: Passport) -> Finding:
    """Compare the page with the one that its passport makes.

    A page that another version of fairnas made has other words around the same figures: there, every figure must be
    one that the passport makes too.

    Args:
        page: what lies in the folder.
        content: of the passport's file.
        passport: the same, read.
    """
    again = render_passport(passport, hashlib.sha256(content).hexdigest())
    if page == again.encode():
        return ok(PAGE, "passport")
    if passport.page == page_maker():
        return failed(PAGE, "passport", f"{_first_difference(page, again)}: it is not the page of this {PASSPORT}")
    given, made = _Words(page.decode(errors="replace")), _Words(again)
    if hashlib.sha256(content).hexdigest() not in given.text:
        return failed(PAGE, "passport", f"it was not made from this {PASSPORT}")
    if strange := given.tags & _STRANGE_TAGS:
        return failed(PAGE, "passport", f"it holds <{min(strange)}>, which no page of ours does")
    if more := set(_NUMBER.findall(given.text)) - set(_NUMBER.findall(made.text)):
        return failed(PAGE, "passport", f"it says {min(more)}, which {PASSPORT} does not")
    return skipped(
        PAGE, "passport", f"another version of fairnas made it: its figures are in {PASSPORT}, its words are unchecked"
    )


def _first_difference(page: bytes, again: str) -> str:
    """Where two pages differ, by line."""
    lines, wanted = page.decode(errors="replace").split("\n"), again.split("\n")
    for number, (line, other) in enumerate(zip(lines, wanted, strict=False), start=1):
        if line != other:
            return f"line {number} differs"
    return f"it has {len(lines)} lines instead of {len(wanted)}"


class _Words(HTMLParser):
    """The visible text of a page, and its tags."""

    def __init__(self, source: str) -> None:
        super().__init__()
        self.tags: set[str] = set()
        self._hidden = False
        self._words: list[str] = []
        self.feed(source)
        self.text = " ".join(self._words)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.add(tag)
        self._hidden = tag == "style"

    def handle_endtag(self, tag: str) -> None:
        self._hidden = False

    def handle_data(self, data: str) -> None:
        if not self._hidden:
            self._words.append(data)
