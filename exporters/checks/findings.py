"""What a check found out about one file of an export folder."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from ...common.text import plain


@dataclass(frozen=True, slots=True)
class Finding:
    """One check of one file.

    Attributes:
        file: its name in the folder.
        what: which check.
        outcome: `skipped` where it could not be made; `unknown` of a signature that is whole and was not checked
            against anybody.
        reason: why it failed or was skipped, in one line that a terminal can show; of a check that passed, what it told
            besides.
    """

    file: str
    what: str
    outcome: Literal["ok", "failed", "skipped", "unknown"]
    reason: str = ""

    def __post_init__(self) -> None:
        object.__setattr__(self, "reason", plain(self.reason))


def ok(file: str, what: str) -> Finding:
    """It is as it should be."""
    return Finding(file, what, "ok")


def failed(file: str, what: str, reason: str) -> Finding:
    """It is not."""
    return Finding(file, what, "failed", reason)


def skipped(file: str, what: str, reason: str) -> Finding:
    """Nobody knows."""
    return Finding(file, what, "skipped", reason)
