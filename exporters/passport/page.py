"""The passport as a page for people: one self-contained HTML file without scripts, in light and in dark."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

from ..pages import formatting, pages
from .checksums import NAMESPACE, SIGNATURE, SUMS
from .passport import PASSPORT, Passport
from .records import FormatRecord, LatencyRecord

PAGE = "passport.html"
"""What the page is called."""

_TEMPLATE = Path(__file__).with_name("passport.html")

STATUS = {
    "written": ("good", "written", "run here, and passed its check"),
    "forced": ("bad", "forced", "failed its check, and was written because that was asked for"),
    "withheld": ("bad", "withheld", "failed its check, so that no file was written"),
    "not_run": ("amber", "not run", "nothing on the exporting machine can run it: unchecked"),
}
"""Colour, word and meaning of each status of a format."""

WORDS = {"madds": "multiply-adds", "sha256": "SHA-256", "top1": "top-1", "ms": "(ms)", "mb": "(MB)", "db": "(dB)"}
"""How parts of a key are written."""


def page_maker() -> str:
    """Digest of what makes the page: where it is the same, the same passport makes the same page."""
    sources = (_TEMPLATE, pages.STYLE_FILE, Path(pages.__file__), Path(formatting.__file__), Path(__file__))
    return hashlib.sha256(b"".join(source.read_bytes() for source in sources)).hexdigest()


def render_passport(passport: Passport, digest_of_json: str | None = None) -> str:
    """The page as text. It names the digest of the JSON file that it was made from.

    Args:
        passport: what it shows.
        digest_of_json: of that file; by default the one that `write_export_folder` writes.
    """
    templates = pages.environment(_TEMPLATE.parent)
    templates.filters.update(label=_label, plain=_plain, pairs=_pairs)
    templates.tests.update(nested=_is_nested, rows=_is_table)
    made, lineage = _made(passport.lineage)
    return templates.get_template(_TEMPLATE.name).render(
        passport=passport,
        made=made,
        lineage=lineage,
        css=pages.style(),
        status=STATUS,
        used=[key for key in STATUS if any(record.status == key for record in passport.formats)],
        headline=_headline(passport.formats),
        gain=_gain,
        latencies=[(record.format, entry) for record in passport.formats for entry in record.latency],
        digest_of_json=digest_of_json or hashlib.sha256(passport.to_json().encode()).hexdigest(),
        names={"json": PASSPORT, "sums": SUMS, "signature": SIGNATURE, "namespace": NAMESPACE},
    )


def _made(lineage: dict[str, Any]) -> tuple[list[dict[str, Any]], dict[str, Any]]:
    """Where each stage was computed, as rows of a table, and the rest of the lineage.

    A network may have been trained on one machine and exported on another, by another version.
    """
    made = lineage.get("made")
    if not isinstance(made, dict) or not all(isinstance(facts, dict) for facts in made.values()):
        return [], lineage
    rows = [
        {"stage": stage, **{key: facts.get(key) for key in ("commit", "versions", "machine")}}
        for stage, facts in made.items()
    ]
    return rows, {key: value for key, value in lineage.items() if key != "made"}


def _headline(formats: list[FormatRecord]) -> dict[str, Any]:
    """Best top-1, shortest measured latency and smallest model of the files that passed, each with its format."""
    good = [record for record in formats if record.status == "written"]
    accurate = [(r.accuracy.exported_top1, r) for r in good if r.accuracy]
    timed = [(entry.latency_ms, r, entry) for r in good for entry in r.latency if entry.kind == "measured"]
    return {
        "accurate": max(accurate, key=lambda pair: pair[0], default=None),
        "fastest": min(timed, key=lambda triple: triple[0], default=None),
        "smallest": min(((r.files[0].bytes, r) for r in good), key=lambda pair: pair[0], default=None),
        "good": len(good),
    }


def _gain(entry: LatencyRecord) -> str:
    """What lasting load costs, as `+3%`."""
    assert entry.sustained is not None
    return f"{entry.sustained.sustained_ms / entry.sustained.burst_ms - 1:+.0%}"


def _label(key: Any) -> str:
    """A key as words: `float_layers` as `float layers`."""
    return " ".join(WORDS.get(word, word) for word in str(key).split("_"))


def _is_nested(value: Any) -> bool:
    """Whether a value needs lines of its own."""
    if isinstance(value, dict):
        return bool(value)
    return isinstance(value, list) and any(isinstance(item, dict | list) for item in value)


def _is_table(value: Any) -> bool:
    """Whether a value is a list of records of the same simple fields."""
    if not isinstance(value, list) or not value or not all(isinstance(item, dict) and item for item in value):
        return False
    return all(item.keys() == value[0].keys() and not any(map(_is_nested, item.values())) for item in value)


def _pairs(value: Any) -> str:
    """A mapping in one cell: `torch 2.14.0, python 3.11.2`."""
    if not isinstance(value, dict):
        return _plain(value)
    return ", ".join(f"{key} {_plain(item)}" for key, item in value.items()) or _plain(None)


def _plain(value: Any) -> str:
    """A value that fits a line."""
    match value:
        case None | "" | [] | {}:
            return "\N{EN DASH}"
        case bool():
            return "yes" if value else "no"
        case float():
            return f"{value:.6g}"
        case int():
            return f"{value:,}" if abs(value) >= 10_000 else str(value)
        case list():
            return ", ".join(_plain(item) for item in value)
    return str(value)
