"""Libraries that talk while they work, kept from doing so."""

from __future__ import annotations

import os
import sys
import warnings
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stderr, redirect_stdout
from pathlib import Path


@contextmanager
def without_output() -> Iterator[None]:
    """Drop what is written to standard output meanwhile, by C++ code too: exporters print whole graphs there."""
    with Path(os.devnull).open("w") as dropped, _standard_output_into(dropped.fileno()), redirect_stdout(dropped):
        yield


@contextmanager
def output_as_remarks() -> Iterator[None]:
    """Send what others write to standard output to standard error: there an answer in JSON may be expected."""
    with _standard_output_into(2), redirect_stdout(sys.stderr):
        yield


@contextmanager
def _standard_output_into(other: int) -> Iterator[None]:
    if sys.__stdout__ is not None:
        sys.__stdout__.flush()
    before = os.dup(1)
    os.dup2(other, 1)
    try:
        yield
    finally:
        os.dup2(before, 1)
        os.close(before)


@contextmanager
def quiet() -> Iterator[None]:
    """Drop what is written to standard error meanwhile, by C++ code too, and Python's warnings.

    It holds for the whole process: what other threads write there is dropped as well.
    """
    with Path(os.devnull).open("w") as dropped, warnings.catch_warnings(), redirect_stderr(dropped):
        warnings.simplefilter("ignore")
        if sys.__stderr__ is not None:
            sys.__stderr__.flush()
        before = os.dup(2)
        os.dup2(dropped.fileno(), 2)
        try:
            yield
        finally:
            os.dup2(before, 2)
            os.close(before)
