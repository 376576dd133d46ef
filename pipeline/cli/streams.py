"""Standard output that is whole or an error, and standard error that may be lost."""

from __future__ import annotations

import json
import math
import os
import sys
from typing import Any, TextIO

from ...common.text import plain, redacted

BROKEN_PIPE = 141  # 128 + SIGPIPE: what shells report where nobody reads on


class Forgiving:
    """A stream for remarks: where it is full or gone they are lost, and the work goes on."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream

    def write(self, text: str) -> int:
        """See `TextIO`."""
        try:
            return self._stream.write(text)
        except OSError:
            return len(text)

    def flush(self) -> None:
        """See `TextIO`."""
        try:
            self._stream.flush()
        except OSError:
            return

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)


def forgive_standard_error() -> None:
    """Let nothing end because of a remark that cannot be written."""
    if not isinstance(sys.stderr, Forgiving):
        sys.stderr = Forgiving(sys.stderr)  # pyright: ignore[reportAttributeAccessIssue]


def print_json(value: Any) -> None:
    """An answer for programs: UTF-8 and JSON, whatever file names and figures are in it."""
    print(json.dumps(_sound(value), indent=1, allow_nan=False))


def print_text(text: str) -> None:
    """An answer for people, line by line."""
    for line in text.split("\n"):
        print(plain(redacted(line)))


def flushed() -> OSError | None:
    """Write out standard output; what it does not take is dropped, and the reason returned."""
    try:
        sys.stdout.flush()
    except OSError as error:
        drop_standard_output()
        return error
    return None


def drop_standard_output() -> None:
    """Send what standard output still holds nowhere."""
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, sys.stdout.fileno())
    os.close(nowhere)


def _sound(value: Any) -> Any:
    if isinstance(value, str):  # half characters are bytes of file names
        return redacted(value.encode("utf-8", "surrogateescape").decode("utf-8", "backslashreplace"))
    if isinstance(value, dict):
        return {_sound(key): _sound(inner) for key, inner in value.items()}
    if isinstance(value, list | tuple):
        return [_sound(inner) for inner in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value
