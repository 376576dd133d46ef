"""Errors of exporting, one line each."""


class ExportError(RuntimeError):
    """A network cannot be exported, or what was exported does not agree with it."""
