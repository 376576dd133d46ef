"""Stage `toy`: how many images there are."""

from __future__ import annotations

from fairnas.common.files import write_json
from fairnas.pipeline.data import load_dataset
from fairnas.pipeline.runs.run import Stage, Workspace
from fairnas.pipeline.stages.context import Context

VERSION = 1
DECIDED_BY = (load_dataset,)


def run(context: Context) -> None:
    """Count the images."""

    def work(workspace: Workspace) -> None:
        (workspace.folder / "draft-1.txt").write_text("one, two, three")
        write_json(workspace.folder / "count.json", {"images": len(context.dataset.train)})

    context.run.execute(
        Stage("toy", VERSION, {"seed": context.config.seed}, {"dataset": context.dataset.digest}, ("count.json",), work)
    )
