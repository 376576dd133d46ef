"""The archive: violations, the front, and the table that a run leaves."""

from __future__ import annotations

import csv
import io

import numpy as np
import pytest
from fairnas.models import get_space
from fairnas.pipeline.search.archive import Archive, Scored

OBJECTIVES = {"accuracy": "maximize", "latency_ms": "minimize"}
LIMITS = {"latency_ms": 8.0, "params": 1000.0}
SPACE = get_space("a")

# Accuracy, latency, parameters; whether feasible; whether on the front.
ROWS = [
    (0.9, 5.0, 900, True, True),
    (0.8, 6.0, 900, True, False),
    (0.7, 4.0, 900, True, True),
    (0.95, 9.0, 900, False, False),
    (0.95, 8.0, 1000, True, True),
    (0.99, 1.0, 1500, False, False),
    (0.1 + 0.2, 3.0000000000000004, 1, True, True),
]


@pytest.fixture
def archive() -> Archive:
    rng = np.random.default_rng(0)
    members: list[Scored] = []
    for number, (accuracy, latency, params, _, _) in enumerate(ROWS):
        architecture = SPACE.sample(rng)
        values = {"accuracy": accuracy, "latency_ms": latency, "madds": 1e6 + number, "params": float(params)}
        members.append(Scored(architecture.choices, str(architecture), number // 3, values, number == 2))
    return Archive(OBJECTIVES, LIMITS, members)


def test_the_front_is_that_of_the_feasible(archive: Archive) -> None:
    assert sorted(archive.front()) == [i for i, row in enumerate(ROWS) if row[4]]


def test_violations_are_relative_and_add_up(archive: Archive) -> None:
    violations = archive.violations()
    assert [v <= 0 for v in violations] == [row[3] for row in ROWS]
    assert violations[3] == pytest.approx(1 / 8)
    assert violations[5] == pytest.approx(0.5)
    both = Archive(OBJECTIVES, {"latency_ms": 4.5, "params": 600.0}, archive.members)
    assert both.violations()[3] == pytest.approx(9 / 4.5 - 1 + 900 / 600 - 1)
    assert not Archive(OBJECTIVES, {}, archive.members).violations().any()


def test_objectives_are_turned_to_be_minimised(archive: Archive) -> None:
    assert archive.minimised()[:2].tolist() == [[-0.9, 5.0], [-0.8, 6.0]]
    assert archive.minimised([]).shape == (0, 2)
    other = Archive({"params": "maximize", "madds": "minimize"}, {}, archive.members)
    assert other.minimised()[0].tolist() == [-900.0, 1e6]


def test_the_table_holds_every_member_with_all_digits(archive: Archive) -> None:
    text = archive.to_csv()
    assert text.endswith("\n")
    assert "\r" not in text
    assert text.splitlines()[0] == (
        "architecture,accuracy,latency_ms,madds,params,feasible,on_front,generation,extrapolated"
    )
    rows = list(csv.DictReader(io.StringIO(text)))
    for number, (row, member, expected) in enumerate(zip(rows, archive.members, ROWS, strict=True)):
        assert row["architecture"] == member.architecture
        assert float(row["accuracy"]) == expected[0]
        assert float(row["latency_ms"]) == expected[1]
        assert float(row["madds"]) == 1e6 + number
        assert row["params"] == str(expected[2])
        assert (row["feasible"], row["on_front"]) == (str(int(expected[3])), str(int(expected[4])))
        assert (row["generation"], row["extrapolated"]) == (str(number // 3), str(int(number == 2)))


def test_further_quantities_follow_in_the_table(archive: Archive) -> None:
    for number, member in enumerate(archive.members):
        member.values.update(latency_upper_ms=number + 0.1, latency_int8_ms=number / 3)
    rows = list(csv.DictReader(io.StringIO(archive.to_csv())))
    assert list(rows[0])[4:7] == ["params", "latency_upper_ms", "latency_int8_ms"]
    for number, row in enumerate(rows):
        assert (float(row["latency_upper_ms"]), float(row["latency_int8_ms"])) == (number + 0.1, number / 3)


def test_a_limit_on_accuracy_is_a_lower_one(archive: Archive) -> None:
    floor = Archive(OBJECTIVES, {"accuracy": 0.8}, archive.members)
    assert [violation <= 0 for violation in floor.violations()] == [row[0] >= 0.8 for row in ROWS]
    assert floor.violations()[2] == pytest.approx(0.1 / 0.8)


def test_an_empty_archive_has_no_front() -> None:
    empty = Archive(OBJECTIVES, LIMITS)
    assert empty.front() == []
    assert len(empty.to_csv().splitlines()) == 1
