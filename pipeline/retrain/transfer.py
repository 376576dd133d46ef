"""Transfer: what a trained network is, so that its weights go on with other classes (FairNAS, section 4.3)."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from ...common.names import inside, safe_name
from ...common.reading import read_object
from ...models import AnyNetwork, parse_any_network
from ..cli.quick_checks import weights_file
from ..errors import UserError
from .train import OUTPUTS


@dataclass(frozen=True, slots=True)
class Trained:
    """A network that was trained.

    Attributes:
        name: what it is called.
        source: what it is.
        weights: path of its `.safetensors`.
        width: multiplier of its channel counts; None where only its configuration says so.
    """

    name: str
    source: AnyNetwork
    weights: Path
    width: float | None

    @property
    def settings(self) -> list[str]:
        """Overrides of a configuration that start training from its weights."""
        sized = [f"deploy.width={self.width}"] if self.width is not None else []
        return [*sized, "retrain.init=weights", f"retrain.weights={json.dumps(str(self.weights))}"]


def find_trained(named: Mapping[str, AnyNetwork] | None, weights: Path) -> Trained:
    """A trained network from its weights.

    Args:
        named: the network, by name; None where retraining left the weights, and said beside them whose they are.
        weights: a `.safetensors`, or the folder `RUN/retrain/NAME`.

    Raises:
        UserError: there are no such weights, it is not known whose they are, or they are another network's.
    """
    weights = weights_file(weights)
    beside = _result_beside(weights)
    if beside is not None:
        if named is not None and beside.source not in named.values():
            raise UserError(f"{weights} are the weights of {beside.source}, not of {', '.join(named)}")
        return beside
    if named is None:
        raise UserError(f"whose weights are {weights}? Name the network: fairnas transfer fairnas_a --weights ...")
    ((name, source),) = named.items()
    return Trained(name, source, weights, None)


def _result_beside(weights: Path) -> Trained | None:
    """What retraining says of the weights that it left; None of weights from elsewhere."""
    path = inside(weights.parent, "result.json")
    if weights.name not in OUTPUTS or not path.is_file():
        return None
    try:
        result = read_object(path)
        name = safe_name(result["name"], "a network")
        return Trained(name, parse_any_network(result["architecture"]), weights, _width(result["width"]))
    except (ValueError, TypeError, KeyError, AttributeError, OverflowError):
        raise UserError(f"{path} is damaged: copy the weights elsewhere, and name their network") from None


def _width(value: object) -> float:
    """A multiplier of channel counts."""
    if not isinstance(value, int | float) or isinstance(value, bool) or not 0 < value < math.inf:
        raise ValueError(f"{value!r} is no width")
    return float(value)
