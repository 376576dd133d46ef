"""What the pipeline raises when the user, not the program, is wrong."""

from ..common.errors import FairnasError


class UserError(FairnasError):
    """A mistake of the user's, shown as one line."""


class Paused(Exception):  # noqa: N818 - not an error
    """The time that a command was given is over; the same command goes on from its last checkpoint."""
