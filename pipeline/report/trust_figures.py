"""The plots about the supernet's ranking."""

from __future__ import annotations

import html
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import plotly.graph_objects as go
from plotly.subplots import make_subplots

from ...exporters.pages.formatting import architecture_lines, as_numbers, count
from ..ranking.lemma import probability_of_equal_counts, stirling_approximation, trials_up_to
from .figures import Plot, axes, thinned
from .style import FRONT, LIMIT, SCORED, base_layout

MOST_COLUMNS = 7
"""Matrices side by side."""

MOST_TRIALS = 10**6
"""How far Lemma 2.1 is drawn: the paper calls this many usual."""


def scatter(ranked: Sequence[tuple[str, float, float]]) -> Plot | None:
    """True accuracy over one-shot score: names, scores and truths."""
    if not ranked:
        return None
    shown = thinned(ranked)
    figure = go.Figure(
        go.Scatter(
            x=[score * 100 for _, score, _ in shown],
            y=[truth * 100 for _, _, truth in shown],
            mode="markers",
            marker={"color": FRONT, "size": 6 if len(shown) > 200 else 8},
            opacity=0.5 if len(shown) > 200 else 0.9,
            text=["<br>".join(html.escape(line, quote=False) for line in architecture_lines(n)) for n, _, _ in shown],
            hovertemplate="%{text}<br>one-shot %{x:.2f}%, true %{y:.2f}%<extra></extra>",
        ),
        layout=base_layout(400),
    )
    axes(figure, "One-shot accuracy (%)", "True accuracy (%)")
    drawn = "" if len(shown) == len(ranked) else f" {count(len(shown))} of them are drawn, evenly chosen."
    return Plot(
        "ranking-scatter",
        f"Scatter plot of true accuracy over one-shot accuracy for {len(ranked)} architectures.",
        f"Each mark is one of {count(len(ranked))} architectures. A supernet that ranks well puts them on a rising "
        f"curve, of whatever height.{drawn}",
        figure,
    )


def budget(content: Mapping[str, Any]) -> Plot | None:
    """Expected true accuracy of what is picked among a growing number of architectures."""
    sizes, oneshot, best = (as_numbers(content.get(key)) for key in ("architectures", "oneshot", "best"))
    random = as_numbers([content.get("random")])
    if not sizes or not random or not len(sizes) == len(oneshot) == len(best):
        return None
    figure = go.Figure(layout=base_layout(360))
    lines = (
        ("the truly best of them", best, SCORED, "dot"),
        ("the best of them by one-shot score", oneshot, FRONT, "solid"),
        ("any of them: random search", random * len(sizes), LIMIT, "dash"),
    )
    for name, values, colour, dash in lines:
        figure.add_scatter(
            x=sizes,
            y=[value * 100 for value in values],
            name=name,
            mode="lines",
            line={"color": colour, "dash": dash, "width": 2},
            hovertemplate=f"{name}<br>among %{{x:,}}: %{{y:.2f}}%<extra></extra>",
        )
    axes(figure, "Architectures looked at", "Expected true accuracy (%)")
    figure.update_xaxes(type="log", tickformat=",", dtick=1)
    return Plot(
        "ranking-budget",
        f"Line plot: among {count(sizes[-1])} architectures the best by one-shot score has a true accuracy of "
        f"{oneshot[-1]:.1%}, a random one {random[0]:.1%}, the best {best[-1]:.1%}.",
        "What picking by score is worth: random search looks at as many architectures and has nothing to rank them by. "
        "Exact expectations over all draws from the scored architectures.",
        figure,
    )


def similarity(
    layers: Sequence[Sequence[Sequence[float | None]]], choices: Sequence[str], names: Sequence[str], where: str
) -> Plot:
    """A matrix of cosine similarities per layer."""
    rows = -(-len(layers) // MOST_COLUMNS)
    columns = -(-len(layers) // rows)
    titles = [f"{where.split()[0]} {html.escape(name, quote=False)}" for name in names]
    figure = make_subplots(rows, columns, subplot_titles=titles, horizontal_spacing=0.012, vertical_spacing=0.2 / rows)
    figure.update_layout(base_layout(70 + 165 * rows))
    for index, matrix in enumerate(layers):
        figure.add_trace(
            go.Heatmap(
                z=matrix,
                x=list(choices),
                y=list(choices),
                coloraxis="coloraxis",
                xgap=1,
                ygap=1,
                hovertemplate=f"{titles[index]}<br>%{{x}} and %{{y}}: %{{z:.3f}}<extra></extra>",
            ),
            row=index // columns + 1,
            col=index % columns + 1,
        )
    figure.update_xaxes(type="category", showticklabels=False, showgrid=False, showline=False, ticks="")
    figure.update_yaxes(
        type="category", autorange="reversed", showticklabels=False, showgrid=False, showline=False, ticks=""
    )
    figure.update_yaxes(showticklabels=True, tickfont={"size": 11}, col=1)
    figure.update_annotations(font={"size": 11})
    figure.update_layout(
        coloraxis={
            "cmin": 0,
            "cmax": 1,
            "colorscale": [[0, "#f3e9c9"], [0.5, "#7fb7a6"], [0.9, "#2f6f9e"], [1, "#123a66"]],
            "colorbar": {"thickness": 12, "outlinewidth": 0, "tickformat": ".1f"},
        }
    )
    off = [
        value for m in layers for i, row in enumerate(m) for j, value in enumerate(row) if i < j and value is not None
    ]
    mean = f"{np.mean(off):.2f}" if off else "unknown"
    return Plot(
        "block-similarity",
        f"{len(layers)} matrices of {len(choices)} by {len(choices)} cosine similarities; their mean off the diagonal "
        f"is {mean}.",
        f"Cosine similarity of the feature maps of every two choices ({', '.join(choices)}), averaged over channels; "
        f"mean off the diagonals {mean}. Values below 0 have the colour of 0.",
        figure,
    )


def lemma(choices: int, backward_passes: float | None) -> Plot:
    """Lemma 2.1: the chance that uniform sampling treats all choices alike, for two choices and for the space's."""
    figure = go.Figure(layout=base_layout(340))
    for m, colour in sorted({2: SCORED, choices: FRONT}.items()):
        trials = trials_up_to(m, MOST_TRIALS)
        for name, values, dash in (
            ("exact", probability_of_equal_counts(m, trials), "solid"),
            ("Stirling", stirling_approximation(m, trials), "dot"),
        ):
            figure.add_scatter(
                x=trials.tolist(),
                y=values.tolist(),
                name=f"{m} choices, {name}",
                mode="lines",
                line={"color": colour, "dash": dash, "width": 2},
                hovertemplate=f"{m} choices, {name}<br>n = %{{x:,}}: %{{y:.2e}}<extra></extra>",
            )
    axes(figure, "Trials n", "Chance of equal counts")
    figure.update_xaxes(type="log", dtick=1, exponentformat="power")
    figure.update_yaxes(type="log", dtick=2, exponentformat="power")
    passes = min(backward_passes or MOST_TRIALS, float(2**53))  # exact up to there, and whole numbers of 64 bits
    here = choices * int(passes // choices) or choices
    chance = float(probability_of_equal_counts(choices, np.array([here]))[0])
    return Plot(
        "lemma",
        f"Line plot of the probability that n uniform trials draw each of 2 or {choices} choices equally often, "
        f"falling to {chance:.1e} at {count(here)} trials.",
        f"Lemma 2.1: the chance that uniform sampling has drawn all choices of a layer equally often after n passes. "
        f"After the {count(here)} of this run it would be {chance:.1e} in each layer; strict fairness makes it 1.",
        figure,
    )
