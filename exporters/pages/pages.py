"""What all our pages share: templates that escape whatever comes from data, numbers for people, and a style sheet."""

from __future__ import annotations

from pathlib import Path
from typing import Any
from urllib.parse import quote

from jinja2 import Environment, FileSystemLoader, StrictUndefined

from . import formatting

STYLE_FILE = Path(__file__).with_name("page.css")


def environment(templates: Path) -> Environment:
    """Templates of a folder, with the filters that write numbers."""
    made = Environment(
        loader=FileSystemLoader(templates),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    made.filters.update(
        count=formatting.count,
        percent=formatting.percent,
        ms=formatting.milliseconds,
        millions=formatting.millions,
        size=formatting.size,
        duration=formatting.duration,
        moment=formatting.moment,
        difference=formatting.difference,
        digest=formatting.digest,
        blocks=formatting.architecture_blocks,
        address=address,
    )
    return made


def style() -> str:
    """The style sheet, for light, dark and paper."""
    return STYLE_FILE.read_text(encoding="utf-8")


def address(path: Any) -> str:
    """A path as a relative link: everything but slashes is quoted, so that no name can turn into another address."""
    return "/".join(quote(part, safe="") for part in str(path).split("/"))
