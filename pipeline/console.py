"""What people see: one console, and progress bars for whatever takes longer than two seconds."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

console = Console(stderr=True, highlight=False)


class Bar:
    """A running progress bar."""

    def __init__(self, progress: Progress, task: int) -> None:
        self._progress, self._task = progress, task

    def advance(self, note: str = "", by: int = 1) -> None:
        """Move on, and show a note such as the current loss."""
        self._progress.update(self._task, advance=by, note=note)  # type: ignore[arg-type]


@contextmanager
def progress_bar(description: str, total: int, done: int = 0) -> Iterator[Bar]:
    """A bar over `total` pieces of work of which `done` are done; it stays on screen when finished."""
    columns = (
        TextColumn("        {task.description}"),
        BarColumn(bar_width=24),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        TextColumn("left"),
        TimeRemainingColumn(),
        TextColumn("{task.fields[note]}"),
    )
    with Progress(*columns, console=console) as progress:
        yield Bar(progress, progress.add_task(description, total=total, completed=done, note=""))
