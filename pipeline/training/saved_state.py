"""Whether a saved state is one that a training can go on from: checked whole, before any of it is loaded."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor


class Misfit(Exception):  # noqa: N818 - the reason why a file is passed over, never shown alone
    """A saved state cannot be gone on from; the message says what is wrong with it, after the file's name."""


def check_state(saved: Any, fresh: Mapping[str, Any]) -> None:
    """Compare a saved state with that of a training that has just begun.

    Args:
        saved: what a file holds.
        fresh: the same state before the first step. What is empty there (an optimizer's slots, the metrics) grows, and
            may hold anything finite. What is not finite there (a mask of minus infinity) need not be so.

    Raises:
        Misfit: something is missing or too much, of another type, shape or text, or not a finite number.
    """
    try:
        _compare(saved, fresh, "")
    except RecursionError:
        raise Misfit("nests too deeply") from None


def _compare(saved: Any, fresh: Any, where: str) -> None:
    if _is_optimizer(fresh):
        _check_optimizer(saved, fresh, where)
        return
    match fresh:
        case Tensor():
            _check_tensor(saved, fresh, where)
        case Mapping():
            if not isinstance(saved, Mapping):
                raise Misfit(f"holds no table of names as {where or 'its content'}")
            if not fresh:
                _check_plain(saved, where)
                return
            if missing := fresh.keys() - saved.keys():
                raise Misfit(f"lacks {_inside(where, min(map(str, missing)))}")
            if unknown := saved.keys() - fresh.keys():
                raise Misfit(f"holds {_inside(where, min(map(str, unknown)))}, which nothing here has")
            for name, value in fresh.items():
                _compare(saved[name], value, _inside(where, name))
        case list() | tuple():
            if not isinstance(saved, list | tuple) or (fresh and len(saved) != len(fresh)):
                raise Misfit(f"holds no list of {len(fresh) or 'rows'} as {where}")
            if not fresh:
                _check_plain(saved, where)
            for index, value in enumerate(fresh):
                _compare(saved[index], value, _inside(where, index))
        case None:
            _check_plain(saved, where)
        case bool() | str():
            if type(saved) is not type(fresh) or (isinstance(fresh, str) and saved != fresh):
                raise Misfit(f"holds something else than a {type(fresh).__name__} fit for {where}")
        case int():
            if type(saved) is not int:
                raise Misfit(f"holds no whole number as {where}")
        case float():
            if type(saved) not in (int, float) or (math.isfinite(fresh) and not math.isfinite(saved)):
                raise Misfit(f"holds no number as {where}")


def _check_tensor(saved: Any, fresh: Tensor, where: str) -> None:
    if not isinstance(saved, Tensor) or saved.shape != fresh.shape or saved.dtype != fresh.dtype:
        has = f"{list(saved.shape)}" if isinstance(saved, Tensor) else "no tensor"
        raise Misfit(f"holds {has} as {where}, where {list(fresh.shape)} belongs")
    if not is_finite(saved) and is_finite(fresh):
        raise Misfit(f"holds NaN or infinity in {where}")


def _check_plain(value: Any, where: str) -> None:
    """Whatever it is, its numbers are finite."""
    waiting = [value]
    while waiting:
        one = waiting.pop()
        if isinstance(one, Mapping):
            waiting += one.values()
        elif isinstance(one, list | tuple):
            waiting += one
        elif (isinstance(one, float) and not math.isfinite(one)) or (isinstance(one, Tensor) and not is_finite(one)):
            raise Misfit(f"holds NaN or infinity in {where}")


def _is_optimizer(part: Any) -> bool:
    return isinstance(part, Mapping) and {"state", "param_groups"} <= part.keys()


def _check_optimizer(saved: Any, fresh: Mapping[str, Any], where: str) -> None:
    """Its slots are numbered as its parameters are; some optimizers add to their groups when they begin."""
    if not _is_optimizer(saved) or not isinstance(saved["state"], Mapping):
        raise Misfit(f"holds no optimizer as {where}")
    groups, fresh_groups = saved["param_groups"], fresh["param_groups"]
    if not isinstance(groups, list) or len(groups) != len(fresh_groups):
        raise Misfit(f"holds other parameters in {where}")
    for group, fresh_group in zip(groups, fresh_groups, strict=True):
        if not isinstance(group, Mapping) or group.get("params") != fresh_group["params"]:
            raise Misfit(f"holds other parameters in {where}")
        if missing := fresh_group.keys() - group.keys():
            raise Misfit(f"lacks {_inside(where, min(missing))}")
    _check_plain(saved, where)
    known = {index for group in fresh_groups for index in group["params"]}
    if not saved["state"].keys() <= known or not all(isinstance(slots, Mapping) for slots in saved["state"].values()):
        raise Misfit(f"holds something else than slots of the parameters in {where}")


def _inside(where: str, name: object) -> str:
    return f"{where}.{name}" if where else str(name)


def is_finite(tensor: Tensor) -> bool:
    """Whether a tensor holds neither NaN nor infinity; whole numbers never do."""
    return not tensor.is_floating_point() or bool(tensor.isfinite().all())


def all_finite(tensors: list[Tensor]) -> bool:
    """The same of many, with a single look at what the device found."""
    found = [tensor.isfinite().all() for tensor in tensors if tensor.is_floating_point()]
    return not found or bool(torch.stack(found).all())
