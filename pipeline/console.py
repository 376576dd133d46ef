"""What people see: one console, and progress bars for whatever may take longer than two seconds."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TaskID,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)

from ..common.text import shown

console = Console(stderr=True, highlight=False)

_LINE_EVERY_SECONDS = 30


def announce(text: str) -> None:
    """Tell people what they have to do, whole: an address must not be broken into lines."""
    console.print(f"[bold]{shown(text)}[/]", soft_wrap=True)


class Bar:
    """A running progress bar; where nobody can watch one (a log file), a line now and then."""

    def __init__(self, progress: Progress, task: TaskID) -> None:
        self._progress, self._task = progress, task
        self._last_line = time.monotonic()

    def show(self, done: int, total: int) -> None:
        """Say how much is done of a total that may change."""
        self._progress.update(self._task, total=total)
        self.advance(by=done - int(self._progress.tasks[self._task].completed))

    def advance(self, note: str = "", by: int = 1) -> None:
        """Move on, and show a note such as the current loss."""
        note = shown(note)
        self._progress.update(self._task, advance=by, note=note)
        if not console.is_terminal and time.monotonic() - self._last_line > _LINE_EVERY_SECONDS:
            task = self._progress.tasks[self._task]
            console.print(f"        {task.description} {task.completed:.0f}/{task.total:.0f} {note}")
            self._last_line = time.monotonic()


@contextmanager
def sample_bar(description: str) -> Iterator[Callable[[int, int], None]]:
    """A bar for a measurement, which tells how many samples it took of how many at most."""
    with progress_bar(description, 1) as bar:
        yield bar.show


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
        yield Bar(progress, progress.add_task(shown(description), total=total, completed=done, note=""))
