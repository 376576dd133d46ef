"""Stage `report`."""

from __future__ import annotations

from ...common.files import sha256_json
from ..report import write_report
from ..runs.run import Stage, Workspace
from .context import Context

VERSION = 3
DECIDED_BY = (write_report,)


def run(context: Context) -> None:
    """Write the page that shows the run."""
    done = {name: entry["outputs"] for name, entry in context.run.manifest["stages"].items() if name != "report"}

    def work(_: Workspace) -> None:
        write_report(context.run.folder)

    context.run.execute(
        Stage(
            "report",
            VERSION,
            {"config": context.config.model_dump(mode="json")},
            {"stages": sha256_json(done)},
            ("index.html",),
            work,
        )
    )
