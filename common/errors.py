"""The root of all errors that are one line for people."""


class FairnasError(Exception):
    """Something that the user can mend: the message is one line that says what was wrong, where, and what to do."""


class UnreadableFile(FairnasError, ValueError):  # noqa: N818 - said as what it is
    """A file is not there, is no regular file, is too large, or does not hold what it must."""
