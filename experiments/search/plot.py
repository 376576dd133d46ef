"""The curves of the tabular study as an SVG."""

from __future__ import annotations

import io
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import matplotlib
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FixedLocator, FuncFormatter, NullLocator

from ...common.files import write_atomic

_STYLES = {
    "nsga2-reinforced": ("#2f7fe0", "-"),
    "nsga2": ("#148f68", "--"),
    "random": ("#7a7f8f", ":"),
    "mnasnet": ("#a45cd0", "-."),
    "regularized-evolution": ("#d6572b", (0, (6, 2, 1, 2, 1, 2))),
}
_TICKS = (0.1, 0.05, 0.02, 0.01, 0.005, 0.002, 0.001, 0.0005)


def draw_curves(figures: Mapping[str, Any], path: Path) -> None:
    """Write hypervolume over evaluations, mean and interval, a panel per task.

    The missing share is drawn on a logarithmic scale: above 99% a linear one would show a single line.
    """
    style: dict[Any, Any] = {
        "svg.fonttype": "none",
        "svg.hashsalt": "fairnas",
        "font.family": "sans-serif",
        "font.size": 10,
    }
    with matplotlib.rc_context(style):
        figure = Figure(figsize=(10, 4.6), layout="constrained")
        left, right = figure.subplots(1, 2, sharey=True)
        for axes, task in ((left, figures), (right, figures["held_out"])):
            _draw_task(axes, task)
        left.set_ylabel("hypervolume, share of the true front's")
        handles, labels = left.get_legend_handles_labels()
        figure.legend(handles, labels, loc="outside upper center", ncols=len(labels), frameon=False)
        file = io.StringIO()
        # Neither date nor version: the same figures give the same bytes.
        figure.savefig(file, format="svg", metadata={"Date": None, "Creator": None})
    write_atomic(path, file.getvalue())


def _draw_task(axes: Axes, task: Mapping[str, Any]) -> None:
    for name, found in task["algorithms"].items():
        colour, line = _STYLES[name]
        points = found["curve"]
        evaluations = [point["evaluations"] for point in points]
        missing = {key: [max(1 - point[key], _TICKS[-1]) for point in points] for key in ("mean", "low", "high")}
        axes.plot(evaluations, missing["mean"], color=colour, linestyle=line, linewidth=1.8, label=name)
        axes.fill_between(evaluations, missing["low"], missing["high"], color=colour, alpha=0.15, linewidth=0)
    axes.set_title(task["name"], fontsize=10)
    axes.set_xlabel("architectures evaluated")
    axes.set_xlim(left=0)
    axes.set_yscale("log")
    axes.set_ylim(_TICKS[0], _TICKS[-1])
    axes.yaxis.set_major_locator(FixedLocator(_TICKS))
    axes.yaxis.set_minor_locator(NullLocator())
    axes.yaxis.set_major_formatter(FuncFormatter(lambda missing, _: f"{1 - missing:.2%}".replace("0%", "%")))
    axes.grid(color="#8884", linewidth=0.6)
    axes.spines[["top", "right"]].set_visible(False)
