"""The error of this folder."""


class LatencyError(ValueError):
    """A latency cannot be known; the message is one line that says what was wrong, where, and what to do."""
