"""Files that somebody else wrote: read as plain values, or refused in one line, at once."""

import math
import os
from pathlib import Path

import pytest
from fairnas.common.errors import UnreadableFile
from fairnas.common.reading import parse_json, parse_yaml, read_bytes, read_object, read_text

LAUGHS = "a: &a [x]\n" + "".join(
    f"{chr(98 + i)}: &{chr(98 + i)} [{', '.join(['*' + chr(97 + i)] * 9)}]\n" for i in range(9)
)


def test_what_is_not_a_regular_file_is_refused_without_waiting(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "fifo")
    for path in (tmp_path / "fifo", tmp_path, Path("/dev/zero")):
        with pytest.raises(UnreadableFile, match=r"not a regular file|directory"):
            read_bytes(path)


def test_missing_large_and_binary_files(tmp_path: Path) -> None:
    path = tmp_path / "file"
    with pytest.raises(UnreadableFile, match="does not exist"):
        read_bytes(path)
    path.write_bytes(b"\xff" * 100)
    assert read_bytes(path, largest=100) == b"\xff" * 100
    with pytest.raises(UnreadableFile, match="100 bytes of at most 99"):
        read_bytes(path, largest=99)
    with pytest.raises(UnreadableFile, match="not UTF-8"):
        read_text(path)


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("[" * 100_000, "nests too deeply"),
        ("[" * 70 + "]" * 70, "nests too deeply"),
        ('{"a": NaN}', "NaN is no JSON number"),
        ('{"a": -Infinity}', "-Infinity is no JSON number"),
        ('{"a": 1, "a": 2}', "a key is there twice"),
        ("9" * 5000, "too long"),
        ("{", "damaged"),
    ],
)
def test_json_that_is_refused(text: str, reason: str) -> None:
    with pytest.raises(UnreadableFile, match=reason):
        parse_json(text, "x.json")


def test_json_that_is_taken(tmp_path: Path) -> None:
    (tmp_path / "x.json").write_text('{"a": [1, 2.5, null, true, "b"]}')
    assert read_object(tmp_path / "x.json") == {"a": [1, 2.5, None, True, "b"]}
    (tmp_path / "x.json").write_text("[1]")
    with pytest.raises(UnreadableFile, match="expected an object"):
        read_object(tmp_path / "x.json")


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        (LAUGHS, "line 1: anchors"),
        ("!!int x", "tags are not used"),
        ("a: !!python/object/apply:os.system [id]", "tags are not used"),
        ("a: 1\nb: 2\na: 3", "line 3: the key 'a' is there twice"),
        ("[" * 5000, "nests too deeply"),
        ("? [a, b]\n: 1", "a key must be a word"),
        ("1" * 5000, "too long"),
        ("[a", "not valid YAML"),
        ("a: \x00", "not valid YAML"),
    ],
)
def test_yaml_that_is_refused(text: str, reason: str) -> None:
    with pytest.raises(UnreadableFile, match=reason) as refused:
        parse_yaml(text, "x.yaml")
    assert "\n" not in str(refused.value)


def test_yaml_that_is_taken() -> None:
    assert parse_yaml("seed: 3\ndate: 2024-13-45\nlr: 1.5e-3\nlist: [a, null, true]", "x.yaml") == {
        "seed": 3,
        "date": "2024-13-45",
        "lr": 1.5e-3,
        "list": ["a", None, True],
    }
    assert math.isinf(parse_yaml(".inf", "x.yaml"))  # the settings refuse it, by name
