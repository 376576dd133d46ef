"""Training that has diverged stops: what it would go on to write is no network."""

from __future__ import annotations

import math

from torch import nn

from ..errors import UserError
from .saved_state import all_finite, is_finite


class Diverged(UserError):  # noqa: N818 - said as what happened
    """A loss or a weight is NaN or infinite."""


class Watch:
    """Looks at losses and weights, and stops where one is not finite.

    A batch norm's variance may overflow while the loss stays finite, so weights and statistics are looked at too: not
    after each step, which would cost as much as an optimizer's update, but wherever they are kept.

    Args:
        what: is trained, such as `supernet` or `pick-1`.
        settings: what to lower or set, each with the value that it has: `supernet.lr=0.05`.
        networks: what is trained. What is not finite in them from the beginning, such as a mask, is let be.
    """

    def __init__(self, what: str, settings: list[str], *networks: nn.Module) -> None:
        self._what, self._settings, self._networks = what, settings, networks
        self._unbounded = {
            (index, name)
            for index, network in enumerate(networks)
            for name, tensor in network.state_dict().items()
            if not is_finite(tensor)
        }

    def check_loss(self, loss: float, where: str) -> None:
        """Look at a step's loss, which was read from the device anyway.

        Raises:
            Diverged: it is NaN or infinite.
        """
        if not math.isfinite(loss):
            raise self._diverged(f"the loss is {loss:g}", where)

    def check_weights(self, where: str) -> None:
        """Look at all weights and statistics.

        Raises:
            Diverged: one is NaN or infinite.
        """
        states = [
            (name, tensor)
            for index, network in enumerate(self._networks)
            for name, tensor in network.state_dict().items()
            if (index, name) not in self._unbounded
        ]
        if not all_finite([tensor for _, tensor in states]):
            name = next(name for name, tensor in states if not is_finite(tensor))
            raise self._diverged(f"{name} holds NaN or infinity", where)

    def _diverged(self, found: str, where: str) -> Diverged:
        return Diverged(
            f"{self._what} has diverged: {found} at {where}; the last checkpoint before that is kept, and no weights "
            f"are written. {', '.join(self._settings)}"
        )
