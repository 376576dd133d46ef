"""What a check found out about one file of an export folder."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True, slots=True)
class Finding:
    """One check of one file.

    Attributes:
        file: its name in the folder.
        what: which check.
        outcome: `skipped` where it could not be made.
        reason: why it failed or was skipped, in one line; of a check that passed, what it told besides.
    """

    file: str
    what: str
    outcome: Literal["ok", "failed", "skipped"]
    reason: str = ""


def ok(file: str, what: str) -> Finding:
    """It is as it should be."""
    return Finding(file, what, "ok")


def failed(file: str, what: str, reason: str) -> Finding:
    """It is not."""
    return Finding(file, what, "failed", reason)


def skipped(file: str, what: str, reason: str) -> Finding:
    """Nobody knows."""
    return Finding(file, what, "skipped", reason)
