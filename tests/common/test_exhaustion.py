"""A full disk is told from what a library found wrong, however deep it lies."""

from __future__ import annotations

import errno

import pytest
from fairnas.common.errors import FairnasError
from fairnas.common.exhaustion import Exhausted, raise_if_exhausted


def _wrapped(inner: BaseException, *, openly: bool) -> BaseException:
    try:
        try:
            raise inner
        except BaseException as error:
            raise FairnasError("cannot become ONNX") from (error if openly else None)
    except FairnasError as outer:
        return outer


@pytest.mark.parametrize("openly", [True, False])
@pytest.mark.parametrize(
    "inner",
    [MemoryError(), *(OSError(number, "words") for number in (errno.ENOSPC, errno.EIO, errno.EDQUOT, errno.EMFILE))],
)
def test_it_is_found_below_other_errors_and_is_one_line(inner: BaseException, openly: bool) -> None:
    with pytest.raises(Exhausted, match="run the same command again") as said:
        raise_if_exhausted(_wrapped(inner, openly=openly))
    assert said.value.__cause__ is inner
    with pytest.raises(Exhausted):
        raise_if_exhausted(said.value)  # once more, where it is caught again
    assert "\n" not in str(said.value)


@pytest.mark.parametrize("inner", [FileNotFoundError(errno.ENOENT, "words"), RuntimeError("no"), SystemExit(1)])
def test_other_errors_are_results(inner: BaseException) -> None:
    raise_if_exhausted(_wrapped(inner, openly=True))


def test_errors_that_lead_to_each_other_end() -> None:
    first, second = RuntimeError(), RuntimeError()
    first.__context__, second.__context__ = second, first
    raise_if_exhausted(first)
