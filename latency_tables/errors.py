"""The errors of this folder."""


class LatencyError(ValueError):
    """A latency cannot be known; the message is one line that says what was wrong, where, and what to do."""


class DeviceLost(LatencyError):  # noqa: N818
    """A device went away in the middle (unplugged, asleep, rebooting): what it measured is kept, and it may return."""
