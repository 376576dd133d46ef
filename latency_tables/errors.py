"""The errors of this folder."""

from ..common.errors import FairnasError


class LatencyError(FairnasError, ValueError):
    """A latency cannot be known; the message is one line that says what was wrong, where, and what to do."""


class DeviceLost(LatencyError):  # noqa: N818
    """A device went away in the middle (unplugged, asleep, rebooting): what it measured is kept, and it may return."""
