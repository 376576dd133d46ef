"""Libraries that talk while they work, kept from doing so."""

from __future__ import annotations

import os
import sys
import tempfile
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager, redirect_stderr


@contextmanager
def quiet() -> Iterator[Callable[[], str]]:
    """Keep what is written to standard error meanwhile, by C++ code too, from the user.

    It holds for the whole process: what other threads write there is kept back as well.

    Yields:
        Reads what was written so far.
    """
    with tempfile.TemporaryFile("w+", errors="replace") as kept, warnings.catch_warnings(), redirect_stderr(kept):
        warnings.simplefilter("ignore")
        sys.__stderr__ and sys.__stderr__.flush()
        before = os.dup(2)
        os.dup2(kept.fileno(), 2)

        def read() -> str:
            kept.flush()
            kept.seek(0)
            text = kept.read()
            kept.seek(0, os.SEEK_END)
            return text

        try:
            yield read
        finally:
            kept.flush()
            os.dup2(before, 2)
            os.close(before)
