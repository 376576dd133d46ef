"""Registries: names in their order without importing anything, and settings that take such names."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated, Any, Literal

import pytest
from fairnas.common.kinds import OneOf
from fairnas.common.registry import Registry
from pydantic import BaseModel, TypeAdapter, ValidationError

LIST = """
from typing import TYPE_CHECKING
if TYPE_CHECKING:
    from .heavy import Heavy
    from .heavy import Heavy as two_words
    from .heavy import Other as one
"""


@pytest.fixture
def things(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Registry[Any]:
    package = tmp_path / "listed_things"
    package.mkdir()
    (package / "__init__.py").write_text("")
    (package / "names.py").write_text(LIST)
    (package / "heavy.py").write_text("class Heavy: ...\nclass Other: ...\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.delitem(sys.modules, "listed_things", raising=False)
    monkeypatch.delitem(sys.modules, "listed_things.heavy", raising=False)
    return Registry("listed_things", str(package / "names.py"))


def test_names_are_those_of_the_lines_and_cost_no_import(things: Registry[Any]) -> None:
    assert list(things) == ["two-words", "one"]
    assert len(things) == 2
    assert "one" in things
    assert "Heavy" not in things
    assert "listed_things.heavy" not in sys.modules
    assert things["two-words"].__name__ == "Heavy"
    assert things["one"].__name__ == "Other"
    assert things["one"] is things["one"]
    with pytest.raises(KeyError, match="three"):
        things["three"]


def test_an_entry_comes_and_goes(things: Registry[Any]) -> None:
    things["three"] = int
    assert (list(things), things["three"]) == (["two-words", "one", "three"], int)
    del things["three"]
    assert list(things) == ["two-words", "one"]
    assert "three" not in things


@pytest.mark.parametrize("value", ["d", "", "A", 1, None, ["a"], {"a": "a"}, True, float("nan")])
@pytest.mark.parametrize("names", [("a",), ("a", "b-c"), ("a", "b-c", "e")])
def test_a_wrong_name_is_answered_as_that_of_a_literal(names: tuple[str, ...], value: Any) -> None:
    def mistake(kind: Any) -> Any:
        with pytest.raises(ValidationError) as raised:
            TypeAdapter(kind).validate_python(value)
        return raised.value.errors(include_url=False)

    assert mistake(Annotated[str, OneOf(names)]) == mistake(Literal[names])


def test_a_right_name_is_taken_dumped_and_described_as_that_of_a_literal() -> None:
    names = ["a", "b"]

    class Ours(BaseModel):
        word: Annotated[str, OneOf(names)] = "a"

    class Literally(BaseModel):
        word: Literal["a", "b"] = "a"

    assert Ours(word="b").model_dump() == Literally(word="b").model_dump()
    assert Ours(word="b").model_dump_json() == Literally(word="b").model_dump_json()
    assert Ours.model_json_schema()["properties"] == Literally.model_json_schema()["properties"]
    with pytest.raises(ValidationError, match="Input should be 'a' or 'b'"):
        Ours(word="c")
    names.append("c")
    assert Ours(word="c").word == "c"
    assert Ours.model_json_schema()["properties"]["word"]["enum"] == ["a", "b", "c"]
