"""The `fairnas` command: what it consists of, and how it ends."""

from __future__ import annotations

import errno
import sys
import traceback
from contextlib import suppress
from typing import Annotated

import typer

from ...common.errors import FairnasError
from ...common.text import plain, redacted, shown
from ..console import console
from ..errors import Paused
from ..runs import stopping
from .answers import print_version
from .devices import bundle, models, profile, targets
from .export import export, verify
from .interrupts import INTERRUPTED, raise_on_interrupt
from .run import check, pipeline, rank, report, retrain, search, supernet, transfer
from .streams import BROKEN_PIPE, drop_standard_output, flushed, forgive_standard_error

PAUSED = 75  # EX_TEMPFAIL of sysexits.h: try again

app = typer.Typer(
    name="fairnas",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode="rich",
)

device_app = typer.Typer(help="What devices need in order to be measured.", no_args_is_help=True)
app.add_typer(device_app, name="device")


@app.callback()
def _options(
    version: Annotated[
        bool, typer.Option("--version", help="Print the version.", is_eager=True, callback=print_version)
    ] = False,
) -> None:
    """From a folder of images and a target device to deployable networks that keep a latency promise."""


for command in (
    pipeline,
    supernet,
    profile,
    search,
    retrain,
    transfer,
    export,
    verify,
    rank,
    report,
    check,
    targets,
    models,
):
    app.command()(command)
device_app.command()(bundle)


def main() -> None:
    """Run the command.

    A user's mistake is one line and exit code 2, a format that was withheld is 3, an agreed pause is 75; Ctrl-C is 130,
    SIGTERM 143 and SIGHUP 129. An answer that could not be written is a failure too.
    """
    raise_on_interrupt()
    forgive_standard_error()
    with stopping.listening():
        try:
            code = _run()
        except BaseException:
            if stopping.exit_code() is None:
                raise
            code = INTERRUPTED  # whatever a library made of the interruption
        code = stopping.exit_code() or code
        if code == INTERRUPTED or stopping.is_wanted():  # 130 is what typer may have turned Ctrl-C into
            with suppress(OSError):  # the terminal is gone
                console.print(f"[yellow]{stopping.message()}[/]", soft_wrap=True)
        if (error := flushed()) is not None:
            code = code or _unwritten(error)
        sys.exit(code)


def _run() -> int:
    try:
        return app(standalone_mode=False) or 0
    except (typer.Abort, KeyboardInterrupt):
        return INTERRUPTED
    except Paused:
        console.print("[yellow]time is up: run the same command again to go on from where it stopped[/]")
        return PAUSED
    except Exception as error:
        return INTERRUPTED if stopping.is_wanted() else _failed(error)


def _failed(error: Exception) -> int:
    """Say what went wrong, without passwords; returns the exit code."""
    if show_usage := getattr(error, "show", None):
        # A misspelt command line raises click's exceptions, and newer versions of typer carry a click of their own.
        error.message = plain(redacted(str(getattr(error, "message", error))))  # pyright: ignore[reportAttributeAccessIssue]
        show_usage()
        return 2
    if isinstance(error, OSError) and error.filename is None and error.errno in (errno.EPIPE, errno.ENOSPC):
        drop_standard_output()
        return _unwritten(error)
    if isinstance(error, FairnasError | OSError):
        console.print(f"[red]error:[/] {shown(error)}", soft_wrap=True)
        return 2
    sys.stderr.write(redacted("".join(traceback.format_exception(error))))
    return 1


def _unwritten(error: OSError) -> int:
    """The exit code of an answer that standard output did not take; nobody is told where nobody reads."""
    if isinstance(error, BrokenPipeError):
        return BROKEN_PIPE
    console.print(f"[red]error:[/] cannot write to standard output: {shown(error.strerror)}")
    return 2
