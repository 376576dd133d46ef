"""What says something of this machine and nothing of what was asked: no disk, no memory, no file handles left."""

from __future__ import annotations

import errno

from .errors import FairnasError

_ERRNOS = (errno.ENOSPC, errno.EDQUOT, errno.EIO, errno.EMFILE, errno.ENFILE, errno.ENOMEM)


class Exhausted(FairnasError):  # noqa: N818 - said as what it is
    """This machine ran out of something: that is no result, and is found out again when there is room."""


def raise_if_exhausted(error: BaseException) -> None:
    """Return where an error says something of what was asked, and can become a result.

    Raises:
        Exhausted: it, or what it was made from, says that this machine ran out of something, or that a disk fails.
    """
    seen: set[int] = set()
    waiting: list[BaseException | None] = [error]
    while waiting:
        each = waiting.pop()
        if each is None or id(each) in seen:
            continue
        seen.add(id(each))
        if isinstance(each, MemoryError) or (isinstance(each, OSError) and each.errno in _ERRNOS):
            what = str(each) or "out of memory"
            raise Exhausted(f"{what}: make room, and run the same command again") from each
        waiting += [each.__cause__, each.__context__]
