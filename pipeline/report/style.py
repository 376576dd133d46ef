"""Colours and marks: a network looks the same in every plot and table of the report."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

# Mid-tones with at least 3:1 contrast on the light and on the dark page, told apart by colour-blind readers with the
# help of the marks; amber and red are left for warnings and limits.
_COLOURS = ("#2f7fe0", "#d6572b", "#148f68", "#a45cd0", "#0d8aa6", "#cf4a86", "#7a7f1f", "#6b6fe8")
_MARKS = (
    ("circle", "●"),
    ("square", "■"),
    ("diamond", "◆"),
    ("triangle-up", "▲"),
    ("cross", "✚"),
    ("star", "★"),
    ("triangle-down", "▼"),
)

SCORED = "#93a1b5"
FRONT = "#688098"
LIMIT = "#dc3a55"


@dataclass(frozen=True, slots=True)
class NetworkStyle:
    """How one network is drawn: a colour, a plotly symbol, and the character that stands for it in text."""

    colour: str
    symbol: str
    glyph: str


def network_styles(names: Sequence[str]) -> dict[str, NetworkStyle]:
    """A look for each network, by its place: 8 colours and 7 marks, so that pairs repeat after 56 networks only."""
    return {
        name: NetworkStyle(_COLOURS[index % len(_COLOURS)], *_MARKS[index % len(_MARKS)])
        for index, name in enumerate(names)
    }


def base_layout(height: int) -> dict[str, Any]:
    """What all plots share. The page's style sheet colours text and grid, so that plots follow light and dark."""
    axis = {"gridcolor": "#8884", "zeroline": False, "linecolor": "#8888", "automargin": True, "title": {"standoff": 8}}
    return {
        "template": "none",
        "height": height,
        "autosize": True,
        "paper_bgcolor": "rgba(0,0,0,0)",
        "plot_bgcolor": "rgba(0,0,0,0)",
        "font": {"family": "system-ui, -apple-system, Segoe UI, Roboto, sans-serif", "size": 13},
        "margin": {"l": 10, "r": 14, "t": 30, "b": 10},
        "xaxis": axis,
        "yaxis": axis,
        "legend": {"orientation": "h", "x": 0, "xanchor": "left", "y": 1.02, "yanchor": "bottom"},
        "hoverlabel": {"bgcolor": "#1d2530", "bordercolor": "#1d2530", "font": {"color": "#ffffff"}, "align": "left"},
        "hovermode": "closest",
        "dragmode": False,
    }
