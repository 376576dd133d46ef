"""Errors of exporting, one line each."""

from ..common.errors import FairnasError
from ..common.text import plain

LONGEST = 300


class ExportError(FairnasError, RuntimeError):
    """A network cannot be exported, or what was exported does not agree with it."""


def in_one_line(error: BaseException) -> str:
    """What any library raised, as one line for people: its kind where it is none of ours, and its first words."""
    text = plain(" ".join(str(error).split())[:LONGEST])
    if isinstance(error, FairnasError):
        return text
    return f"{type(error).__name__}: {text}" if text else type(error).__name__
