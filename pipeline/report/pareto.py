"""The plot of the search: accuracy over one cost for all that it scored, with the front, the limit and the picks."""

from __future__ import annotations

import html
from collections.abc import Mapping, Sequence
from typing import Any

import plotly.graph_objects as go

from ...exporters.pages.formatting import architecture_lines, count, number
from ..search.limits import Limit
from .calibration import corrected
from .figures import AXES, MAX_CLOUD, SHOWN, Plot, axes, padded, scaled, thinned
from .run_files import RunFiles, Scored
from .style import FRONT, LIMIT, SCORED, NetworkStyle, base_layout

_TOLD_ON_HOVER = ("accuracy", "latency_ms", "latency_int8_ms", "madds", "params")


def pareto(run: RunFiles, cost: str, styles: Mapping[str, NetworkStyle]) -> Plot:
    """Accuracy over one cost for every scored architecture, with the front, the picks and the limit."""
    scored = corrected(run)
    points = [s for s in scored if s.values["accuracy"] is not None and s.values[cost] is not None]
    front = sorted((s for s in points if s.on_front), key=lambda s: s.values[cost] or 0.0)
    cloud = [s for s in points if not s.on_front and s.feasible]
    outside = [s for s in points if not s.on_front and not s.feasible]
    plane = len(run.objectives) == 2
    figure = go.Figure(layout=base_layout(460))
    _add_scored(figure, thinned(outside), cost, f"outside a limit ({count(len(outside))})", "x-thin-open", SCORED)
    _add_scored(figure, thinned(cloud), cost, f"scored ({count(len(cloud))})", "circle", SCORED)
    _add_scored(figure, front, cost, f"front ({count(len(front))})", "circle", FRONT, line=plane)
    costs = scaled([s.values[cost] for s in points] + [number(pick.get(cost)) for pick in run.picks], AXES[cost][1])
    heights = scaled([s.values["accuracy"] for s in points], AXES["accuracy"][1])
    caption = [f"Each mark is one of the {count(len(points))} architectures that the search scored."]
    if scored is not run.scored:
        caption.append("Latencies are as the table says them since the picks were measured.")
    drawn = min(len(cloud), MAX_CLOUD) + min(len(outside), MAX_CLOUD)
    if drawn < len(cloud) + len(outside):
        caption.append(f"Of those off the front, {count(drawn)} are drawn, evenly chosen in the order of the file.")
    if not plane:
        names = ", ".join(AXES[name][0].split(" (")[0].lower() for name in run.objectives)
        caption.append(
            f"The front is one of {len(run.objectives)} objectives ({names}): in this projection some lie low."
        )
    ranges = {cost: padded(costs, below=0.1), "accuracy": padded(heights, above=0.12)}
    for limit in run.constraints:
        if limit.quantity in ranges:
            ranges[limit.quantity], note = _add_limit(figure, limit, ranges[limit.quantity])
            caption.append(note)
    for pick in run.picks:
        _add_pick(figure, pick, cost, styles[pick["name"]], ranges[cost])
    axes(figure, AXES[cost][0], AXES["accuracy"][0])
    figure.update_xaxes(range=ranges[cost])
    figure.update_yaxes(range=ranges["accuracy"])
    return Plot(
        f"pareto-{cost.replace('_', '-')}",
        f"Scatter plot of accuracy over {AXES[cost][0].lower()} for {len(points)} architectures, "
        f"{len(front)} of them on the Pareto front, with {len(run.picks)} picks marked. "
        "The tables below hold the same numbers.",
        " ".join(caption),
        figure,
    )


def _add_scored(
    figure: go.Figure, scored: Sequence[Scored], cost: str, name: str, symbol: str, colour: str, *, line: bool = False
) -> None:
    if not scored:
        return
    figure.add_scatter(
        x=scaled([s.values[cost] for s in scored], AXES[cost][1]),
        y=scaled([s.values["accuracy"] for s in scored], AXES["accuracy"][1]),
        mode="lines+markers" if line else "markers",
        line={"color": colour, "width": 1.5, "shape": "hv"} if line else None,
        marker={"color": colour, "symbol": symbol, "size": 7 if colour == FRONT else 6, "line": {"color": colour}},
        opacity=1.0 if colour == FRONT else 0.6,
        name=name,
        text=[_hover(s.architecture, s.values, extrapolated=s.extrapolated) for s in scored],
        hovertemplate="%{text}<extra></extra>",
    )


def _add_pick(
    figure: go.Figure, pick: Mapping[str, Any], cost: str, style: NetworkStyle, x_range: Sequence[float]
) -> None:
    values = {quantity: number(pick.get(quantity)) for quantity in SHOWN}
    x, y = values[cost], values["accuracy"]
    if x is None or y is None:
        return
    label = html.escape(pick["name"], quote=False)
    # Above and left of a front there is room, but for the leftmost networks the axis is there.
    leftmost = x * AXES[cost][1] < x_range[0] + 0.15 * (x_range[1] - x_range[0])
    figure.add_scatter(
        x=[x * AXES[cost][1]],
        y=[y * AXES["accuracy"][1]],
        mode="markers+text",
        marker={"color": style.colour, "symbol": style.symbol, "size": 14, "line": {"color": "#ffffff", "width": 1.5}},
        text=[f"<b>{label}</b>"],
        textposition="top center" if leftmost else "top left",
        cliponaxis=False,
        name=label,
        showlegend=False,
        hovertext=[f"<b>{label}</b><br>" + _hover(str(pick.get("architecture", "")), values)],
        hovertemplate="%{hovertext}<extra></extra>",
    )


def _add_limit(figure: go.Figure, limit: Limit, shown: list[float]) -> tuple[list[float], str]:
    """Draw the limit where it lies near the data; a far one would squeeze them, so it is only told.

    Returns:
        the range to show of the limit's axis, and a sentence for the caption.
    """
    at = limit.value * AXES[limit.quantity][1]
    told = SHOWN[limit.quantity](limit.value)
    low, high = shown
    accuracy = limit.quantity == "accuracy"
    before, behind = ("below", "above") if accuracy else ("to the left of", "to the right of")
    reach = 0.6 * (high - low)
    if not low - reach <= at <= high + reach:
        return shown, f"The limit, {told}, lies {before if at < low else behind} the plot."
    margin = 0.06 * (high - low)
    shown = [min(low, at - margin), max(high, at + margin)]
    shade = {"fillcolor": LIMIT, "opacity": 0.07, "line_width": 0, "layer": "below"}
    line = {"line": {"color": LIMIT, "dash": "dash", "width": 1.5}, "annotation_position": "bottom right"}
    if accuracy:
        figure.add_hrect(y0=shown[0], y1=at, **shade)
        figure.add_hline(y=at, annotation={"text": f"limit {told}", "yanchor": "top"}, **line)
        return shown, f"Networks below the dashed line fall short of the limit of {told}."
    figure.add_vrect(x0=at, x1=shown[1], **shade)
    upright = {"text": f"limit {told}", "textangle": -90, "yanchor": "bottom", "xanchor": "left"}
    figure.add_vline(x=at, annotation=upright, **line)
    return shown, f"Networks right of the dashed line are over the limit of {told}."


def _hover(architecture: str, values: Mapping[str, float | None], *, extrapolated: bool = False) -> str:
    known = ((name, value) for name in _TOLD_ON_HOVER if (value := values.get(name)) is not None)
    shown = [f"{SHOWN[name](value)}{' in int8' if name == 'latency_int8_ms' else ''}" for name, value in known]
    lines = [*(html.escape(line, quote=False) for line in architecture_lines(architecture)), " · ".join(shown)]
    return "<br>".join([*lines, "latency extrapolated"] if extrapolated else lines)
