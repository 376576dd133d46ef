"""The plots of the report: each function takes what was read from the run folder and returns a `Plot`.

Only SVG traces are used: WebGL ones would need `eval`, which the page's content security policy forbids.
"""

from __future__ import annotations

import html
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

import plotly.graph_objects as go

from ...exporters.pages.formatting import count, millions, milliseconds, number, percent
from .latency import Comparison
from .style import FRONT, SCORED, NetworkStyle, base_layout

T = TypeVar("T")

MAX_CLOUD = 3000
"""Dominated architectures drawn at most: beyond it an SVG plot is slow to move and no easier to read."""

MAX_LINE = 1500
"""Points drawn of one curve at most."""

AXES = {
    "accuracy": ("Held-out accuracy (%)", 100.0),
    "latency_ms": ("Predicted latency (ms)", 1.0),
    "latency_upper_ms": ("Upper end of the predicted latency (ms)", 1.0),
    "latency_int8_ms": ("Predicted int8 latency (ms)", 1.0),
    "madds": ("Multiply-adds (millions)", 1e-6),
    "params": ("Parameters (millions)", 1e-6),
}
"""Title and factor of the axis that shows a quantity."""

SHOWN = {
    "accuracy": percent,
    "latency_ms": milliseconds,
    "latency_upper_ms": milliseconds,
    "latency_int8_ms": milliseconds,
    "madds": millions,
    "params": millions,
}
"""How the value of a quantity is written."""


@dataclass(frozen=True, slots=True)
class Plot:
    """A figure with the words that go with it."""

    name: str
    summary: str
    caption: str
    figure: go.Figure

    @property
    def height(self) -> int:
        """Pixels; the page reserves them before the plot is drawn."""
        return int(self.figure.to_plotly_json()["layout"]["height"])

    @property
    def json(self) -> str:
        """The figure as JSON that may stand inside a script element."""
        return (self.figure.to_json() or "").replace("<", "\\u003c")


def fairness(ledger: Mapping[str, Any], counts: Sequence[Sequence[float]]) -> Plot:
    """Updates of each choice block as a map, coloured by the deviation from the mean over all blocks."""
    choices = [str(choice) for choice in ledger.get("choices") or range(len(counts[0]))]
    every = [value for layer in counts for value in layer]
    mean = sum(every) / len(every)
    deviations = [[(layer[row] / mean - 1) * 100 if mean else 0.0 for layer in counts] for row in range(len(choices))]
    widest = max(5.0, max(abs(value) for row in deviations for value in row))
    equal = min(every) == max(every)
    layers = [str(index + 1) for index in range(len(counts))]
    texts = [[count(layer[row]) for layer in counts] for row in range(len(choices))]
    figure = go.Figure(
        go.Heatmap(
            x=layers,
            y=[html.escape(choice, quote=False) for choice in choices],
            z=deviations,
            zmin=-widest,
            zmax=widest,
            colorscale=[[0.0, "#f2a25f"], [0.5, "#9cc5b8"], [1.0, "#83aef5"]],
            text=texts,
            texttemplate="%{text}",
            textfont={"color": "#10151c"},
            xgap=2,
            ygap=2,
            showscale=not equal,
            colorbar={"title": {"text": "from mean"}, "ticksuffix": "%", "thickness": 12, "outlinewidth": 0},
            hovertemplate="layer %{x}, %{y}<br>%{text} updates (%{z:+.1f}% from the mean)<extra></extra>",
        ),
        layout=base_layout(90 + 38 * len(choices)),
    )
    axes(figure, "Layer", "")
    figure.update_xaxes(type="category", showgrid=False, tickangle=0)
    figure.update_yaxes(type="category", autorange="reversed", showgrid=False)
    return Plot(
        "fairness-map",
        f"Heat map of the updates of {len(choices)} choice blocks in each of {len(counts)} layers: "
        f"from {count(min(every))} to {count(max(every))} updates.",
        "Updates that each choice block received, by layer and choice; one colour everywhere means equal treatment.",
        figure,
    )


def supernet_loss(records: Sequence[Mapping[str, Any]]) -> Plot | None:
    """Training loss of the supernet over steps."""
    points = [(number(r.get("step")), number(r.get("loss"))) for r in records]
    known = [(step, loss) for step, loss in points if step is not None and loss is not None]
    if not known:
        return None
    shown = thinned(known, MAX_LINE)
    figure = go.Figure(
        go.Scatter(
            x=[step for step, _ in shown],
            y=[loss for _, loss in shown],
            mode="lines" if len(shown) > 1 else "markers",
            line={"color": FRONT, "width": 1.8},
            hovertemplate="step %{x:,}<br>loss %{y:.3f}<extra></extra>",
        ),
        layout=base_layout(320),
    )
    axes(figure, "Step", "Training loss")
    figure.update_xaxes(tickformat=",")
    first, last = known[0][1], known[-1][1]
    return Plot(
        "supernet-loss",
        f"Line plot of the supernet's training loss, from {first:.3f} to {last:.3f} over {count(known[-1][0])} steps.",
        f"Supernet: training loss at each logged step, from {first:.2f} to {last:.2f}.",
        figure,
    )


def retraining(metrics: Mapping[str, Sequence[Mapping[str, Any]]], styles: Mapping[str, NetworkStyle]) -> Plot | None:
    """Validation accuracy per epoch for every retrained network, and of its averaged weights where they are kept."""
    figure = go.Figure(layout=base_layout(340))
    finals: list[str] = []
    averaged = False
    for name, records in metrics.items():
        style = styles[name]
        for key, dash in (("val_top1", "solid"), ("ema_top1", "dot")):
            known = [
                (epoch, top1 * 100)
                for r in records
                if (epoch := number(r.get("epoch"))) is not None and (top1 := number(r.get(key))) is not None
            ]
            if not known:
                continue
            ema = key == "ema_top1"
            averaged |= ema
            label = html.escape(name, quote=False) + (" (EMA)" if ema else "")
            figure.add_scatter(
                x=[epoch for epoch, _ in known],
                y=[top1 for _, top1 in known],
                name=label,
                legendgroup=name,
                showlegend=not ema,
                mode="lines+markers" if len(known) <= 40 and not ema else "lines",
                line={"color": style.colour, "width": 2, "dash": dash},
                marker={"symbol": style.symbol, "size": 7},
                hovertemplate=f"{label}<br>epoch %{{x}}<br>top-1 %{{y:.2f}}%<extra></extra>",
            )
            if key == "val_top1":
                finals.append(f"{name} ends at {known[-1][1]:.1f}%")
    if not finals:
        return None
    axes(figure, "Epoch", "Validation top-1 (%)")
    caption = "Retraining: validation top-1 after each epoch."
    if averaged:
        caption += " Dotted: the exponential moving average (EMA) of the weights."
    return Plot("retraining", f"Line plot of validation top-1 per epoch: {'; '.join(finals)}.", caption, figure)


def latency(comparisons: Sequence[Comparison], styles: Mapping[str, NetworkStyle]) -> Plot:
    """Measured over predicted latency: with a diagonal where both are of one device, as an order where they are not."""
    figure = go.Figure(layout=base_layout(400))
    same = all(c.same_device for c in comparisons)
    xs = [c.predicted_ms for c in comparisons]
    ys = [c.measured_ms for c in comparisons]
    tops = [c.p90_ms if c.p90_ms is not None else c.measured_ms for c in comparisons]
    x_range, y_range = padded(xs), padded(ys, above=0.15)
    if same:
        x_range = y_range = padded([*xs, *ys])
    # Bars may make the plot half as high again; one disturbed 90th percentile must not squash all the marks.
    most = y_range[1] + 0.5 * (y_range[1] - y_range[0])
    y_range = [y_range[0], max(y_range[1], min(most, max(tops) + 0.04 * (y_range[1] - y_range[0])))]
    cut = [c.name for c, top in zip(comparisons, tops, strict=True) if top > y_range[1]]
    if same:
        figure.add_scatter(
            x=x_range,
            y=x_range,
            mode="lines",
            line={"color": SCORED, "dash": "dash", "width": 1.5},
            name="exact prediction",
            hoverinfo="skip",
        )
    for c, top in zip(comparisons, tops, strict=True):
        style = styles[c.name]
        label = html.escape(c.name, quote=False)
        figure.add_scatter(
            x=[c.predicted_ms],
            y=[c.measured_ms],
            error_y={
                "type": "data",
                "array": [top - c.measured_ms],
                "arrayminus": [0.0],
                "color": style.colour,
                "thickness": 1.5,
            },
            mode="markers+text",
            text=[label],
            textposition="middle left" if c.predicted_ms > sum(x_range) / 2 else "middle right",
            marker={"color": style.colour, "symbol": style.symbol, "size": 12},
            name=label,
            showlegend=False,
            cliponaxis=False,
            hovertemplate=f"{label}<br>predicted %{{x:.3g}} ms<br>measured %{{y:.3g}} ms<extra></extra>",
        )
    axes(figure, f"Predicted, {_short(comparisons[0].predicted_device)} (ms)", "Measured on this host (ms)")
    figure.update_xaxes(range=x_range)
    figure.update_yaxes(range=y_range)
    figure.update_layout(showlegend=same)
    if same:
        caption = "Marks on the dashed line were predicted exactly. "
    else:
        caption = "The prediction and the measurement are of different devices: compare the order, not the numbers. "
    pairs = "; ".join(
        f"{c.name}: predicted {milliseconds(c.predicted_ms)}, measured {milliseconds(c.measured_ms)}"
        for c in comparisons
    )
    return Plot(
        "latency-comparison",
        f"Scatter plot of measured over predicted latency. {pairs}.",
        caption
        + "Measured is the minimum over the rounds; the bar reaches to the 90th percentile"
        + (f", which lies above the plot for {', '.join(cut)}: the table has it." if cut else "."),
        figure,
    )


def hypervolume(values: Sequence[float]) -> Plot:
    """Hypervolume of the front after each generation."""
    figure = go.Figure(
        go.Scatter(
            x=list(range(len(values))),
            y=list(values),
            mode="lines+markers" if len(values) <= 60 else "lines",
            line={"color": FRONT, "width": 1.8, "shape": "hv"},
            hovertemplate="generation %{x}<br>hypervolume %{y:.4g}<extra></extra>",
        ),
        layout=base_layout(300),
    )
    axes(figure, "Generation", "Hypervolume")
    return Plot(
        "hypervolume",
        f"Line plot of the front's hypervolume over {len(values)} generations, "
        f"from {values[0]:.4g} to {values[-1]:.4g}.",
        "Hypervolume that the front dominates after each generation, counted from 0: a line that is still rising "
        "at its end suggests that a longer search may find more.",
        figure,
    )


def axes(figure: go.Figure, x: str, y: str) -> None:
    """Title both axes."""
    figure.update_xaxes(title={"text": html.escape(x, quote=False)})
    figure.update_yaxes(title={"text": html.escape(y, quote=False)})


def scaled(values: Sequence[float | None], factor: float) -> list[float]:
    """The values that are known, in the unit of their axis."""
    return [value * factor for value in values if value is not None]


def padded(values: Sequence[float], above: float = 0.08, below: float = 0.08) -> list[float]:
    """A range around the values; around a single one, a tenth of it to each side."""
    low, high = min(values), max(values)
    span = (high - low) or abs(high) * 0.2 or 1.0
    return [low - below * span, high + above * span]


def thinned(items: Sequence[T], most: int = MAX_CLOUD) -> list[T]:
    """At most `most` items, evenly spaced, the first and the last among them."""
    if len(items) <= most:
        return list(items)
    return [items[round(index * (len(items) - 1) / (most - 1))] for index in range(most)]


def _short(text: str, most: int = 28) -> str:
    return text if len(text) <= most else text[: most - 1].rstrip() + "…"
