"""Libraries that talk while they work, kept from doing so."""

from __future__ import annotations

import os
import sys
import warnings
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stderr
from pathlib import Path


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
