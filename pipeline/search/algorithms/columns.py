"""Which column of the objectives an algorithm finds a quantity in."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ...errors import UserError

if TYPE_CHECKING:
    from ..settings import SearchConfig


def column_of(settings: SearchConfig, quantity: str) -> int:
    """The quantity's place among `settings.objectives`.

    Raises:
        UserError: it is not among them.
    """
    names = list(settings.objectives)
    if quantity not in names:
        raise UserError(
            f"search.algorithm={settings.algorithm} needs {quantity} among search.objectives, "
            f"which are {', '.join(names)}"
        )
    return names.index(quantity)
