"""What the pipeline raises when the user, not the program, is wrong."""


class UserError(Exception):
    """A mistake of the user's, shown as one line."""
