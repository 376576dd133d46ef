"""Errors of exporting, one line each."""

from ..common.errors import FairnasError


class ExportError(FairnasError, RuntimeError):
    """A network cannot be exported, or what was exported does not agree with it."""
