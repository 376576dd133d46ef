"""Builds the page: what was read from the run folder goes through the template, and out comes one HTML file."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from plotly.offline import get_plotlyjs

from ...common.files import write_atomic
from ...exporters.pages import pages
from . import figures, sections
from .run_files import as_dict, as_list, read_run
from .style import network_styles
from .trust import trust

FOLDER = Path(__file__).parent


def write_report(run_folder: Path) -> Path:
    """Write `report/index.html` of a run: one file that holds all it needs and asks no server for anything.

    Only the files of the run folder are read. Sections whose files are missing say so in a sentence, so that a run
    that stopped early, or is still going, has a report too.

    Args:
        run_folder: a run folder, of whatever progress.

    Returns:
        Path of the page.

    Raises:
        OSError: the page cannot be written.
    """
    page = render(run_folder)
    path = run_folder / "report" / "index.html"
    write_atomic(path, page)
    return path


def render(run_folder: Path) -> str:
    """The page as text."""
    run = read_run(run_folder)
    styles = network_styles(run.networks)
    templates = pages.environment(FOLDER)
    templates.filters.update(mapping=as_dict, items_of=as_list, quantity=_quantity)
    return templates.get_template("template.html").render(
        run=run,
        styles=styles,
        headline=sections.headline(run),
        picks=sections.picks(run),
        dropped=sections.dropped(run),
        measured_on=sections.measured_on(run),
        exports=sections.exports(run),
        pareto_plots=sections.pareto_plots(run, styles),
        latency=sections.latency(run, styles),
        training=sections.training(run, styles),
        fairness=sections.fairness(run),
        search=sections.search(run),
        trust=trust(run),
        details=sections.details(run),
        names=sections.NAMES,
        css=pages.style() + (FOLDER / "style.css").read_text(encoding="utf-8"),
        script=(FOLDER / "draw.js").read_text(encoding="utf-8"),
        plotlyjs=get_plotlyjs(),
    )


def _quantity(value: Any, name: str) -> str:
    """A value written the way its quantity is."""
    return figures.SHOWN[name](value) if name in figures.SHOWN else str(value)
