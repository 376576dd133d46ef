"""Odd values of settings: each is refused in one line before anything is trained, and none is shown that is secret."""

from __future__ import annotations

import copy
import random
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from fairnas.common import text as texts
from fairnas.common.errors import FairnasError
from fairnas.common.text import shown
from fairnas.pipeline import config
from fairnas.pipeline.check_settings import check_settings, load_config
from fairnas.pipeline.config import Config, read_config, repeated_settings
from fairnas.pipeline.errors import UserError
from pydantic import BaseModel

ODD = [
    "true", "no", "null", "''", "' '", "0", "-1", "1", "3", "2147483648", "18446744073709551616", "1" * 60, "9" * 5000,
    "1e308", "-1e308", "1e400", ".inf", "-.inf", ".nan", "1e-320", "0.5", "2.5", "1_000", "0x10", "1:30", "abc",
    "'1'", "'true'", "[]", "[1]", "[[[[]]]]", "{}", "{a: 1}", "{1: 2}", "{a: {b: {c: 1}}}", "2024-13-45", "2024-01-01",
    "2024-01-01 00:00:00", "!!int x", "!!timestamp x", "!!python/object:os.system x", "!!binary aGk=", "&a [*a]", "*a",
    "[&a x, *a]", "{a: 1, a: 2}", "[" * 200, "[" * 200 + "]" * 200, "{a: " * 100 + "1" + "}" * 100, "'\\0'", '"\\0"',
    '"\\x1b[2J"', '"a\\nb"', '"\\ud800"', "[/x]", "[red]x", "../../x", "/dev/null", "~nosuchuser/x", "x" * 5000,
    "rand-m9-mstdx", "rand-n1000000000", "rand-m1000000", "rand-", "augmix-w1000000", "trivialaugment", "12abc",
    "[latency_ms<=1e999]", "[params<=1, params<=2]", "os:abort", "antigravity:fly", "a:b:c", ":", "@", "`", "|", ">",
    "? a", "- b", "a: b: c", "'", '"', "#", "",
]  # fmt: skip


def leaves(section: type[BaseModel] = Config, prefix: str = "") -> Iterator[str]:
    for name, field in section.model_fields.items():
        kind: Any = field.annotation
        if isinstance(kind, type) and issubclass(kind, BaseModel):
            yield prefix + name
            yield from leaves(kind, f"{prefix}{name}.")
        else:
            yield prefix + name


LEAVES = sorted(leaves())
_TINY = config._read_preset("tiny")


@pytest.fixture(autouse=True)
def _tiny_is_read_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Reading YAML takes most of the time of thousands of cases."""
    read = config._read_preset
    monkeypatch.setattr(config, "_read_preset", lambda name: copy.deepcopy(_TINY) if name == "tiny" else read(name))


def outcome(overrides: list[str], load: Any = read_config) -> str | None:
    """The line that refuses them; None where they are taken."""
    try:
        load("tiny", overrides)
    except FairnasError as error:
        line = shown(error)
        assert "\n" not in line
        assert "\x1b" not in line
        assert len(line) < 1000, line
        return line
    return None


def test_odd_values_of_every_key_are_taken_or_refused_in_one_line() -> None:
    rng = random.Random(1)
    for key in LEAVES:
        for value in rng.sample(ODD, 25):
            line = outcome([f"{key}={value}"])
            if line is not None:
                assert key.split(".")[0] in line or "space b" in line, (key, value, line)


def test_many_of_them_with_all_checks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What is taken is sound: the checks that need torch and timm neither fail nor hang on it."""
    monkeypatch.chdir(tmp_path)
    rng = random.Random(0)
    for _ in range(100):
        outcome([f"{rng.choice(LEAVES)}={rng.choice(ODD)}"], load_config)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("seed=true", "seed: Input should be a valid integer (got True)"),
        ("seed='1'", "seed: Input should be a valid integer (got '1')"),
        ("seed=1.0", "seed: Input should be a valid integer (got 1.0)"),
        ("seed=18446744073709551616", "seed: Input should be less than or equal to 2147483647"),
        ("seed=2024-13-45", "seed: Input should be a valid integer (got '2024-13-45')"),
        ("seed=!!timestamp x", "--set seed: the value is not valid YAML: tags are not used"),
        ("supernet.lr=true", "supernet.lr: Input should be a valid number (got True)"),
        ("supernet.lr=1e30", "supernet.lr: Input should be less than or equal to 1000"),
        ("supernet.nesterov=1", "supernet.nesterov: Input should be a valid boolean (got 1)"),
        ("supernet.nesterov='yes'", "supernet.nesterov: Input should be a valid boolean (got 'yes')"),
        ("scoring.memory_gib=1e308", "scoring.memory_gib: Input should be less than or equal to 65536"),
        ("search.mutation_probability=2", "search.mutation_probability: Input should be less than or equal to 1"),
        ("retrain.sched_args={a: .inf}", "retrain.sched_args.a: Input should be a finite number (got inf)"),
        ("preset=x/../../../victim", "preset: 'x/../../../victim' cannot be the name of a preset"),
        ("data.source=\"a\\0b\"", "data.source: it holds a NUL character"),
    ],
)  # fmt: skip
def test_kinds_and_bounds(override: str, message: str) -> None:
    assert (outcome([override]) or "").replace("\\[", "[").startswith(message)


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("retrain.opt=adahessian", "retrain.opt: adahessian cannot train here"),
        ("retrain.opt=sdg", "retrain.opt: timm has no such optimiser: did you mean 'sgd'?"),
        ("retrain.opt_args.epz=1", "retrain: opt_args do not fit timm's sgd"),
        ("retrain.sched_args.decay_epoch=1", "retrain: sched_args do not fit timm's cosine schedule"),
        (
            "supernet.augment.auto=rand-m9-mstdx",
            "supernet.augment.auto: 'mstdx' in 'rand-m9-mstdx' is no part of a policy",
        ),
        ("retrain.augment.auto=trivialaugment", "retrain.augment.auto: unknown augmentation policy trivialaugment"),
        ("supernet.augment.auto=rand-n1000000000", "supernet.augment.auto: a number is too large"),
        ("export.tune.augment.auto=augmix-w99", "export.tune.augment.auto: a number is too large"),
        ("export.opset=99", "export.opset: Input should be less than or equal to 20"),
        ("retrain.distillation.teacher=os:abort", "retrain.distillation.teacher: 'os:abort' names no network"),
        ("latency.table=mine.json", "no latency table 'mine.json'"),
        ("export.sign_with=~nosuchuser/key", "~nosuchuser/key: there is no such home folder"),
        ("search.storage=mysql://u@h/db", "--storage names a mysql database"),
        ("search.storage=postgresql://u:PASSWORD@h:port/db", "--storage is not the URL of a database"),
    ],
)
def test_what_would_fail_after_training_fails_before(override: str, message: str) -> None:
    assert outcome([override]) is None  # only torch, timm or a file can tell
    assert (outcome([override], load_config) or "").startswith(message)


def test_missing_weights_are_named_before_training(tmp_path: Path) -> None:
    for path, reason in ((tmp_path / "no.safetensors", "does not exist"), (tmp_path, "is a folder")):
        line = outcome(["retrain.init=weights", f"retrain.weights={path}"], load_config)
        assert line is not None
        assert line.startswith(f"retrain.weights: cannot read weights: {path} {reason}; give the path")


@pytest.mark.parametrize("auto", ["rand-m9-mstd0.5", "augmix-m3-w3", "original", "3a", "rand-m15-n2-mstd100-inc1"])
def test_policies_that_work_are_taken(auto: str) -> None:
    check_settings(read_config("tiny", [f"retrain.augment.auto={auto}"]))


@pytest.mark.parametrize("opt", ["sgd", "adamw", "rmsproptf", "lion", "lamb", "adafactor"])
def test_optimisers_that_work_are_taken(opt: str) -> None:
    check_settings(read_config("tiny", [f"retrain.opt={opt}", "retrain.opt_args={}"]))


def test_checks_draw_on_nobodys_random_numbers() -> None:
    import numpy as np
    import torch

    def next_numbers() -> tuple[float, ...]:
        random.seed(1)
        np.random.seed(1)
        torch.manual_seed(1)
        if checked:
            check_settings(settings)
        return random.random(), np.random.rand(), torch.rand(1).item()

    settings = read_config("tiny", ["retrain.augment.auto=rand-m9-mstd0.5"])
    checked = False
    expected = next_numbers()
    checked = True
    assert next_numbers() == expected


def test_a_setting_is_given_once() -> None:
    assert outcome(["seed=1", "seed=1"]) is None
    assert load_config("tiny", ["seed=1", "seed=2"]).seed == 2
    assert repeated_settings(["seed=1", "supernet.lr=0.1", "seed=2"]) == ["seed"]
    assert repeated_settings(["seed=1", "seed=1"]) == []
    line = outcome(["search.picks=2", "search={generations: 1}"])
    assert line == "--set search would replace --set search.picks before it: give it first"


# Passwords.

URL = "postgresql://u:HUNTER22@h/db"


@pytest.fixture(autouse=True)
def _nothing_hidden(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each case hides for itself: what an earlier one hid must not help it."""
    monkeypatch.setattr(texts, "_hidden", set())


@pytest.mark.parametrize(
    "overrides",
    [
        [f"search.storage=[{URL}"],
        [f"search.storage=[{URL}]"],
        [f"search.storage={{url: '{URL}'}}"],
        ["search.storage=[HUNTER22]"],
        ["search.storage={HUNTER22: 1}"],
        ["search.storage={HUNTER22: 1, HUNTER22: 2}"],
        ["search.storage=HUNTER22: HUNTER22: x"],
        ["search.storage=!HUNTER22 x"],
        ["search.storage=*HUNTER22"],
        [f"search=[{URL}]"],
        ["search=HUNTER22"],
        [f"search={URL}"],
        [f"search={{storage: '{URL}'}}"],
        [f"search={{storage: ['{URL}'], generations: 1}}"],
        [f"search.storag={URL}"],
        [f"serach={{storage: '{URL}'}}"],
        [f"search.storage.x={URL}"],
        [f"search.storage={URL}", "search.storage=mysql://u:HUNTER22@h/db"],
        [f"search.storage={URL}", "search.picks=0"],
        [f"search.storage={URL}", "search.generations=null"],
        [f"search.storage={URL}", "search.objectives={accuracy: maximize}"],
        [f"search.storage={URL}", "search.population=[1]"],
        ["search.storage=postgresql://u:HUNTER22@h:port/db"],
        ["search.storage=mysql://u:HUNTER22@h/db"],
        ["search.storage=HUNTER22"],
        [URL],
        [f"{URL}=x"],
        [f"{URL}/a=b"],
        [f"latency.table={URL}"],
        [f"data.source={URL}", "seed=-1"],
    ],
)  # fmt: skip
def test_no_error_shows_a_password(overrides: list[str]) -> None:
    line = outcome(overrides, load_config)
    assert line is not None
    assert "HUNTER" not in line


def test_a_preset_with_storage_shows_nothing(tmp_path: Path) -> None:
    path = tmp_path / "mine.yaml"
    content = yaml.safe_load((Path(__file__).parents[2] / "pipeline/presets/tiny.yaml").read_text())
    content["search"] = {"population": 6, "picks": 3, "storage": URL}
    path.write_text(yaml.safe_dump(content))
    with pytest.raises(UserError) as caught:
        read_config(str(path))
    assert str(caught.value) == "search.generations: Field required"
    content["search"]["generations"] = 3
    path.write_text(yaml.safe_dump(content))
    settings = read_config(str(path))
    assert settings.search.storage is not None
    assert settings.search.storage.get_secret_value() == URL
    for said in (repr(settings), settings.to_yaml(), str(settings.model_dump()), settings.model_dump_json()):
        assert "HUNTER22" not in said
    assert shown("a driver's error quotes HUNTER22") == "a driver's error quotes ***"


def test_a_database_is_named_without_its_query() -> None:
    from fairnas.pipeline.search.shared import _without_secrets, database_url

    named = _without_secrets(database_url("postgresql://u:HUNTER22@h:1/db?password=HUNTER23&sslkey=HUNTER24"))
    assert named == "postgresql+psycopg://u:***@h:1/db"


# Files of settings.


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("seed: 2024-13-45", "seed: Input should be a valid integer"),
        ("a: " + "[" * 5000, "nests too deeply"),
        ("a: &a [x]\nb: *a", "anchors and aliases are not used"),
        ("seed: 1\nseed: 2", "the key 'seed' is there twice"),
        ("seed: !!python/object/apply:os.abort []", "tags are not used"),
        ("preset: ../x\nseed: 1", "cannot be the name of a preset"),
    ],
)
def test_a_strangers_preset(tmp_path: Path, content: str, message: str) -> None:
    path = tmp_path / "theirs.yaml"
    path.write_text(content)
    with pytest.raises(UserError) as caught:
        read_config(str(path))
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_preset_that_is_a_pipe_is_not_waited_for(tmp_path: Path) -> None:
    import os

    os.mkfifo(tmp_path / "pipe.yaml")
    with pytest.raises(UserError, match="is not a regular file"):
        read_config(str(tmp_path / "pipe.yaml"))
