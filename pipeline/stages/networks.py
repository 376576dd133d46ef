"""What networks are called in a run folder."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from typing import TypeGuard

from ...common.names import UnsafeNameError, safe_name
from ...models import AnyNetwork, Architecture, TimmModel, UserModel
from ..errors import UserError
from ..runs.picks_file import folder_name, is_pick


def network_names(networks: Sequence[tuple[str, AnyNetwork]]) -> dict[str, AnyNetwork]:
    """Folder names for networks given by name or text: names stay, texts of architectures become a digest."""
    return {_network_name(text, source): source for text, source in networks}


def ours(networks: Mapping[str, AnyNetwork]) -> dict[str, Architecture]:
    """Those whose blocks are known: they can be priced by a table, and are trained before they are exported."""
    return {name: source for name, source in networks.items() if isinstance(source, Architecture)}


def hard_swish_networks(networks: Mapping[str, AnyNetwork]) -> dict[str, AnyNetwork]:
    """Networks with hard-Swish in the place of Swish, under names that say so; those without Swish as they are.

    Raises:
        UserError: another of the networks is called so.
    """
    replaced: dict[str, AnyNetwork] = {}
    for name, source in networks.items():
        new = f"{name}_hswish" if _has_swish(source) else name
        if new in replaced or (new != name and new in networks):
            raise UserError(f"{name} with hard-Swish is called {new}, as another of these networks: export one of them")
        replaced[new] = source.with_hard_swish() if _has_swish(source) else source
    return replaced


def _has_swish(source: AnyNetwork) -> TypeGuard[Architecture]:
    return isinstance(source, Architecture) and source.se_ratio > 0 and not source.hard_swish


def transferred_name(dataset: str, network: str) -> str:
    """What a network is called that was trained on with other images.

    Raises:
        UserError: it would be called as one of the search's picks.
    """
    name = f"{dataset}-{network}"
    try:
        safe_name(name, "a network")
    except UnsafeNameError:  # a folder of images may be called as no network can be
        name = folder_name(f"{folder_name(dataset)}-{network}")
    if is_pick(name):
        raise UserError(f"{name} would be taken for a pick of the search: rename the folder of images {dataset}")
    return name


def _network_name(text: str, source: AnyNetwork) -> str:
    if isinstance(source, TimmModel):
        return folder_name(source.name)
    if isinstance(source, UserModel):
        return folder_name(f"{source.module}-{source.attribute}")
    return text if ":" not in text else f"network-{short_digest(source)}"


def short_digest(source: AnyNetwork) -> str:
    """What tells networks without a name apart."""
    return hashlib.sha256(str(source).encode()).hexdigest()[:8]
