"""Tables of the truth: what is read, what is refused with which words; and which architectures are taken."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from fairnas.models import Architecture, Task, any_space
from fairnas.pipeline.errors import UserError
from fairnas.pipeline.ranking.sample import choose, random_pool
from fairnas.pipeline.ranking.settings import RankConfig
from fairnas.pipeline.ranking.truth import read_truth

MACRO = "arch,acc1,mean_acc\n00000000,45.32,45.36\n00000002,65.4,65.86\n22222222,92.9,92.85\n"


def table(tmp_path: Path, text: str) -> Path:
    path = tmp_path / "truth.csv"
    path.write_text(text)
    return path


def test_a_benchmarks_digits_keep_their_zeros_and_percentages_become_fractions(tmp_path: Path) -> None:
    truth = read_truth(table(tmp_path, MACRO), None, any_space("macro"))
    assert truth.accuracies[Architecture.parse("macro:I-I-I-I-I-I-I-E6K5")] == pytest.approx(0.6586)
    assert truth.source["column"] == "mean_acc"
    other = read_truth(table(tmp_path, MACRO), "acc1", any_space("macro"))
    assert other.accuracies[any_space("macro").uniform("I")] == pytest.approx(0.4532)
    assert other.digest != truth.digest


def test_our_text_form_is_read_for_any_space(tmp_path: Path) -> None:
    architectures = [any_space("a").uniform("E3K3"), any_space("a").uniform("E6K7")]
    lines = [f"{architecture},{accuracy}" for architecture, accuracy in zip(architectures, (0.5, 1.0), strict=True)]
    truth = read_truth(table(tmp_path, "\n".join(["architecture,accuracy", *lines])), None, any_space("a"))
    assert truth.accuracies == dict(zip(architectures, (0.5, 1.0), strict=True))


@pytest.mark.parametrize(
    ("text", "column", "words"),
    [
        (MACRO, "acc9", "no column 'acc9'; the columns are arch, acc1, mean_acc"),
        (MACRO.replace("mean_acc", "x"), None, "name one with --column"),
        (MACRO.replace("arch", "name"), None, "no column 'architecture'"),
        ("", None, "is there a header"),
        (MACRO + "00000000,1,1\n", None, "line 5: 00000000 stands there a second time"),
        (MACRO + "0000000,1,1\n", None, "line 5: '0000000' is not an architecture of macro: expected 8 digits"),
        (MACRO + "00000003,1,1\n", None, "digits from 0 to 2"),
        (MACRO + "00000001,1,nan\n", None, "line 5: mean_acc is 'nan': expected an accuracy"),
        (MACRO + "00000001,1,-3\n", None, "mean_acc is '-3'"),
        (MACRO + "00000001,1,\n", None, "mean_acc is ''"),
        (MACRO + "00000001,1\n", None, "expected an accuracy"),
        (MACRO + "00000001,1,100.5\n", None, "mean_acc is '100.5'"),
        ("arch,mean_acc\n00000000,45\n", None, "at least 2 architectures"),
        (
            "architecture,accuracy\nnasbench201:none-none-none-none-none-none,1\n",
            None,
            "no path of a supernet of space",
        ),
        ("architecture,accuracy\nb:E3K3,1\n", None, "names 1 blocks"),
    ],
)
def test_a_bad_table_is_refused_in_one_line_that_says_what_and_where(
    tmp_path: Path, text: str, column: str | None, words: str
) -> None:
    with pytest.raises(UserError) as refused:
        read_truth(table(tmp_path, text), column, any_space("macro"))
    assert words in str(refused.value)
    assert "truth.csv" in str(refused.value)
    assert "\n" not in str(refused.value)


def test_a_missing_file_and_a_binary_one_are_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="No such file"):
        read_truth(tmp_path / "none.csv", None, any_space("macro"))
    (tmp_path / "binary.csv").write_bytes(b"\xff\xfe\x00\x01" * 9)
    with pytest.raises(UserError, match="not a CSV file"):
        read_truth(tmp_path / "binary.csv", None, any_space("macro"))


def chosen(count: int, **options: Any) -> list[Architecture]:
    space = any_space("b")
    truth = options.pop("truth", None)
    return choose(random_pool(space, 0), count, RankConfig(**options), space, Task(64, 10), truth)


def madds(architectures: list[Architecture]) -> np.ndarray:
    return np.array([any_space("b").cost(architecture, 64, 10).madds for architecture in architectures])


@pytest.mark.parametrize("spacing", ["random", "quantiles", "even"])
def test_a_sample_is_of_different_architectures_and_the_seed_decides(spacing: str) -> None:
    first = chosen(25, spacing=spacing)
    assert len(set(first)) == 25
    assert first == chosen(25, spacing=spacing)
    if spacing == "random":
        assert first != chosen(25, spacing=spacing, seed=1)


def test_even_spacing_is_wider_than_a_random_samples_and_quantiles_are_not() -> None:
    """Why the spacing belongs to the figure: a wider spread is easier to rank."""
    pool = madds(random_pool(any_space("b"), 0))
    quantiles, even = (madds(chosen(25, spacing=spacing)) for spacing in ("quantiles", "even"))
    assert even.std() > 1.4 * pool.std()
    assert quantiles.std() < 1.3 * pool.std()
    steps = np.diff(np.sort(even))
    assert steps.max() < 2.5 * np.ptp(even) / 24


def test_the_truth_spaces_a_table_and_is_not_known_for_networks_yet_to_be_trained() -> None:
    pool = random_pool(any_space("b"), 0)
    truth = {architecture: place / len(pool) for place, architecture in enumerate(pool)}
    by_truth = [truth[architecture] for architecture in chosen(5, spaced_by="truth", truth=truth)]
    np.testing.assert_allclose(by_truth, [0, 0.25, 0.5, 0.75, 1], atol=0.01)
    with pytest.raises(UserError, match="spaced_by=truth needs a table"):
        chosen(5, spaced_by="truth")


def test_all_candidates_are_taken_where_as_many_are_asked_for() -> None:
    assert chosen(10**6) == random_pool(any_space("b"), 0)
