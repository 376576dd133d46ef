"""The raw record: what is written is read again, and what cannot be believed is not."""

from __future__ import annotations

import json
import os
from contextlib import closing
from pathlib import Path

import pytest
from fairnas.latency_tables import Conditions, LatencyError, Sample
from fairnas.latency_tables.device import Fingerprint
from fairnas.latency_tables.journal import Journal

PHONE: Fingerprint = {"name": "a phone", "runtime": "r", "threads": 1, "clock_us": 0.5}
MODELS = {"a": "digest of a", "b": "digest of b"}
SAMPLES = [Sample("a", 0, 2.5, 1.5, 1.25), Sample("b", 0, 3.5, 2.5), Sample("a", 1, 2.0, 1.0, 0.5, 0.25, 1.125)]


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """A journal of three samples."""
    file = tmp_path / "folder" / "journal.jsonl"
    with closing(Journal(file, PHONE, MODELS)) as journal:
        journal.add_verified(["a", "b"])
        journal.add_conditions(Conditions(41.5, None))
        journal.add_conditions(Conditions())
        for sample in SAMPLES:
            journal.add(sample)
    return file


def read(path: Path, fingerprint: Fingerprint = PHONE, models: dict[str, str] = MODELS) -> Journal:
    journal = Journal(path, fingerprint, models)
    journal.close()
    return journal


def test_everything_is_read_again(path: Path) -> None:
    journal = read(path)
    assert journal.samples == {"a": [SAMPLES[0], SAMPLES[2]], "b": [SAMPLES[1]]}
    assert journal.verified == {"a", "b"}
    assert journal.conditions == [Conditions(41.5, None)]


def test_what_is_flushed_is_there_before_the_file_is_closed(tmp_path: Path) -> None:
    journal = Journal(tmp_path / "journal.jsonl", PHONE, MODELS)
    journal.add(SAMPLES[0])
    journal.flush()
    assert read(tmp_path / "journal.jsonl").samples == {"a": [SAMPLES[0]]}
    journal.close()


def test_without_a_path_everything_stays_in_memory() -> None:
    journal = Journal(None, PHONE, MODELS)
    journal.add(SAMPLES[0])
    journal.flush()
    journal.close()
    assert journal.samples["a"] == [SAMPLES[0]]


def test_a_file_cut_anywhere_loses_its_last_line_only(path: Path) -> None:
    content = path.read_bytes()
    lines = content.splitlines(keepends=True)
    for length in range(len(content)):
        path.write_bytes(content[:length])
        journal = Journal(path, PHONE, MODELS)
        whole = [json.loads(line) for line in content[:length].rpartition(b"\n")[0].splitlines()]
        assert sum(map(len, journal.samples.values())) == sum("sample" in line for line in whole)
        journal.add(Sample("b", 9, 1.0, 1.0))
        journal.close()
        assert read(path).samples["b"][-1].round == 9
    assert len(lines) == 7


@pytest.mark.parametrize(
    "damaged",
    [
        b'{"sample": ["a", 0, 1.0',
        b'{"sample": ["a", 0]}',
        b'{"sample": ["a", 0, 1.0, "1.0", null]}',
        b'{"sample": ["a", 0, 1.0, NaN, null]}',
        b'{"sample": ["a", 0, 1.0, 1.0, 1.0, -0.1]}',
        b'{"sample": ["a", 0, 1.0, 1.0, 1.0, 0.0, 1.0, 1.0]}',
        b'{"sample": ["a", 0, 1.0, 1.0, 1.0, 0.0, "1.0"]}',
        b'{"sample": 3}',
        b"[]",
        b"3",
        b"",
        b"{}",
        b'{"a": 1, "b": 2}',
        b'{"surprise": 1}',
        b'{"models": 3}',
        b'{"verified": 3}',
        b'{"fingerprint": 3}',
        b'{"conditions": {"wind": 3}}',
        b"\xff\xfe",
    ],
)
def test_a_damaged_line_is_named(path: Path, damaged: bytes) -> None:
    _without_checks(path)
    lines = path.read_bytes().splitlines()
    path.write_bytes(b"\n".join([*lines[:4], damaged, *lines[4:]]) + b"\n")
    with pytest.raises(LatencyError) as refusal:
        read(path)
    assert str(refusal.value) == f"{path}, line 5 is damaged: delete the file to measure again"


def _without_checks(path: Path) -> None:
    """As earlier versions wrote it."""
    lines = [json.loads(line) for line in path.read_text().splitlines()]
    path.write_text("".join(json.dumps({k: v for k, v in line.items() if k != "crc32"}) + "\n" for line in lines))


def test_any_changed_digit_is_noticed_and_nothing_is_written(path: Path) -> None:
    content = path.read_bytes()
    digits = [place for place, byte in enumerate(content) if chr(byte).isdigit()]
    for place in digits:
        changed = content[:place] + (b"7" if content[place : place + 1] != b"7" else b"8") + content[place + 1 :]
        path.write_bytes(changed)
        with pytest.raises(LatencyError, match=r"damaged|now it is"):
            read(path)
        assert path.read_bytes() == changed
    assert len(digits) > 50


@pytest.mark.parametrize("lost", range(1, 6))
def test_a_lost_line_is_noticed(path: Path, lost: int) -> None:
    lines = path.read_bytes().splitlines(keepends=True)
    path.write_bytes(b"".join(lines[:lost] + lines[lost + 1 :]))
    with pytest.raises(LatencyError, match=f"line {lost + 1} is damaged"):
        read(path)


def test_a_file_of_an_earlier_version_goes_on_with_checks(path: Path) -> None:
    _without_checks(path)
    with closing(Journal(path, PHONE, MODELS)) as journal:
        journal.add(Sample("b", 9, 1.0, 1.25))
    assert read(path).samples["b"][-1] == Sample("b", 9, 1.0, 1.25)
    assert len(read(path).samples["a"]) == 2
    path.write_text(path.read_text().replace("1.25", "1.26"))  # also in a line that has no check
    with pytest.raises(LatencyError, match="damaged"):
        read(path)


@pytest.mark.parametrize(
    "content", [b"my thesis", b'{"name": "mine"}\n{"half', b"[1, 2]\n", b'{"x": 1}', b"\xff\n\xfe"]
)
def test_a_file_that_is_no_journal_is_left_alone(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "data.jsonl"
    path.write_bytes(content)
    with pytest.raises(LatencyError, match="holds no raw samples of fairnas") as refusal:
        read(path)
    assert path.read_bytes() == content
    assert "\n" not in str(refusal.value)


def test_nothing_is_written_through_a_link_nor_read_from_a_pipe(tmp_path: Path) -> None:
    (tmp_path / "mine.txt").write_text("")
    (tmp_path / "link.jsonl").symlink_to(tmp_path / "mine.txt")
    with pytest.raises(LatencyError, match="is a link"):
        read(tmp_path / "link.jsonl")
    assert (tmp_path / "mine.txt").read_text() == ""
    os.mkfifo(tmp_path / "pipe.jsonl")
    with pytest.raises(LatencyError, match="not a regular file"):
        read(tmp_path / "pipe.jsonl")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"name": "another phone"}, "name 'a phone', now it is 'another phone'"),
        ({"threads": 2}, "threads 1, now it is 2"),
        ({"governor": "powersave"}, "governor None, now it is 'powersave'"),
    ],
)
def test_another_device_is_told_by_what_changed(path: Path, change: Fingerprint, message: str) -> None:
    before = path.read_bytes()
    with pytest.raises(LatencyError, match=message) as refusal:
        read(path, {**PHONE, **change})
    assert str(refusal.value).startswith(f"{path}: measured with ")
    assert "\n" not in str(refusal.value)
    assert path.read_bytes() == before


def test_samples_of_a_changed_model_do_not_count(path: Path) -> None:
    changed = read(path, models={"a": "another digest"})
    assert changed.samples == {"b": [SAMPLES[1]]}
    assert changed.verified == {"b"}
    # Nor do they when the model is what it was before: they are older than another model of that name.
    assert read(path).samples == {"b": [SAMPLES[1]]}


def test_other_models_are_kept_for_later(path: Path) -> None:
    assert read(path, models={"c": "digest of c"}).samples.keys() == {"a", "b"}
    assert read(path).samples.keys() == {"a", "b"}
