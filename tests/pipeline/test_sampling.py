"""The samplings: what an update trains, how often each choice is drawn, and that all meet at equal backward passes."""

from __future__ import annotations

import json
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
import torch
from fairnas.models import any_space, build_supernet
from fairnas.pipeline.check_settings import load_config
from fairnas.pipeline.config import Config
from fairnas.pipeline.data import Dataset, load_dataset
from fairnas.pipeline.errors import Paused
from fairnas.pipeline.runs.run import Workspace
from fairnas.pipeline.supernet.sampling import SAMPLINGS, make_sampling
from fairnas.pipeline.supernet.sampling.interface import Sampling
from fairnas.pipeline.supernet.settings import SupernetConfig
from fairnas.pipeline.supernet.step import SampledPath
from fairnas.pipeline.supernet.train import train_supernet
from safetensors.torch import load_file

NAMES = list(SAMPLINGS)
BUDGET = 6000


def sampling(name: str, space: str = "nasbench201", seed: int = 0, **options: float) -> Sampling:
    values = {"sampling": name, "epochs": 1, "batch_size": 8} | options
    return make_sampling(SupernetConfig.model_validate(values), any_space(space), 10, seed, BUDGET)


@pytest.fixture(scope="module")
def digits() -> Dataset:
    return load_dataset("digits", heldout=0.2, seed=0, train_images=192)


def config(*overrides: str) -> Config:
    small = ["space=nasbench201", "proxy.resolution=16", "proxy.width=0.25"]
    short = ["supernet.batch_size=32", "supernet.init=independent", "supernet.epochs=2"]
    return load_config("tiny", [*small, *short, *overrides])


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("space", ["b", "macro", "nasbench201"])
def test_paths_have_a_valid_choice_in_every_layer(name: str, space: str) -> None:
    place = any_space(space)
    drawn = sampling(name, space)
    for _ in range(20):
        for path in drawn.sample():
            assert len(path) == len(place.layers)
            for choice, count in zip(path, place.genes, strict=True):
                chosen = [choice] if isinstance(choice, int) else list(choice)
                assert chosen
                assert sorted(set(chosen)) == chosen
                assert set(chosen) <= set(range(count))


@pytest.mark.parametrize("name", NAMES)
def test_a_seed_decides_every_draw_and_a_state_goes_on(name: str) -> None:
    one, same, other = sampling(name, seed=1), sampling(name, seed=1), sampling(name, seed=2)
    first = [one.sample() for _ in range(200)]
    assert first == [same.sample() for _ in range(200)]
    assert first != [other.sample() for _ in range(200)]
    resumed = sampling(name, seed=1)
    resumed.load_state(json.loads(json.dumps(one.state())))
    assert [one.sample() for _ in range(5)] == [resumed.sample() for _ in range(5)]


def test_strict_fairness_is_fair_within_every_update_and_independent_paths_are_not() -> None:
    fair, independent = sampling("strict"), sampling("independent")

    def columns(paths: list[SampledPath]) -> list[list[int]]:
        return np.sort(np.array(paths), axis=0).T.tolist()

    assert all(columns(fair.sample()) == [list(range(5))] * 6 for _ in range(50))
    assert not any(columns(independent.sample()) == [list(range(5))] * 6 for _ in range(50))


def test_expectation_fairness_trains_one_path_on_k_batches() -> None:
    for name, factor in (("expectation", 1), ("expectation-scaled", 1 / 6)):
        drawn = sampling(name)
        paths = drawn.sample()
        assert (len(paths), drawn.passes, drawn.batches) == (6, 6, 6)
        assert all(path == paths[0] for path in paths)
        assert drawn.lr_factor == pytest.approx(factor)
        assert drawn.sample() != paths


@pytest.mark.parametrize("name", ["expectation", "spos", "independent"])
def test_uniform_samplings_draw_every_choice_as_often(name: str) -> None:
    drawn = sampling(name)
    counts = np.zeros((6, 5))
    for _ in range(3000):
        counts[np.arange(6), drawn.sample()[0]] += 1
    # 3,000 draws with chance 1/5: a deviation of 5 sigma in one of 30 counts has a chance of 2 in 100,000.
    assert np.abs(counts - 600).max() < 5 * np.sqrt(3000 * 0.2 * 0.8)


def test_one_shot_drops_more_and_more_and_never_all() -> None:
    drawn = sampling("one-shot", path_dropout=0.05)
    updates = int(BUDGET / drawn.passes)
    kept = np.array(
        [[len(choice) for choice in drawn.sample()[0] if isinstance(choice, tuple)] for _ in range(updates)]
    )
    assert (kept[0] == 5).all()
    assert kept.min() == 1
    quarters = [part.mean() for part in np.array_split(kept, 4)]
    assert all(earlier > later for earlier, later in pairwise(quarters))
    rate = 0.05**0.2
    assert kept[-100:].mean() == pytest.approx(5 * (1 - rate) / (1 - rate**5), rel=0.05)
    # Counted by the candidates that it computed, it costs what it was given.
    assert kept.mean(axis=1).sum() == pytest.approx(BUDGET, rel=0.02)


def test_one_shot_without_dropout_takes_everything() -> None:
    drawn = sampling("one-shot", path_dropout=0.0)
    assert drawn.passes == 5
    assert drawn.sample() == [[(0, 1, 2, 3, 4)] * 6]


@pytest.mark.parametrize("space", ["a", "b", "macro", "nasbench201"])
def test_proportional_sampling_draws_by_stand_alone_parameters(space: str) -> None:
    place, drawn = any_space(space), sampling("proportional", space, proportional_pool=20)
    pool: dict[tuple[int, ...], int] = {}
    for _ in range(4000):
        (path,) = drawn.sample()
        key = tuple(choice for choice in path if isinstance(choice, int))
        pool[key] = pool.get(key, 0) + 1
    assert len(pool) == 20
    sizes = {path: place.cost(place.architecture(path), num_classes=10).params for path in pool}
    expected = np.array([4000 * sizes[path] / sum(sizes.values()) for path in pool])
    assert (np.abs(np.array([*pool.values()]) - expected) < 5 * np.sqrt(expected)).all()


@pytest.mark.parametrize("name", NAMES)
def test_all_samplings_train_for_as_many_backward_passes(name: str, digits: Dataset, tmp_path: Path) -> None:
    settings = config(f"supernet.sampling={name}")
    train_supernet(settings, any_space("nasbench201").scaled(0.25), digits, Workspace(tmp_path))
    fairness = json.loads((tmp_path / "fairness.json").read_text())
    assert fairness["sampling"] == name
    # 2 epochs of 6 batches, 5 paths each; One-Shot draws how many candidates it computes.
    assert fairness["backward_passes"] == pytest.approx(60, rel=0.15 if name == "one-shot" else 1e-9)
    assert fairness["equal_after_every_step"] is (name == "strict")


@pytest.mark.parametrize("unsampled", ["frozen", "drift"])
def test_a_block_that_was_not_sampled_moves_only_when_that_is_asked_for(
    unsampled: str, digits: Dataset, tmp_path: Path
) -> None:
    """Six updates of single paths: with momentum and a large weight decay, frozen blocks stay bit for bit."""
    settings = config(
        "supernet.sampling=spos", f"supernet.unsampled={unsampled}", "supernet.weight_decay=0.1", "supernet.epochs=1",
        "supernet.batch_size=160", "proxy.resolution=16", "space=macro",
    )  # fmt: skip
    space = any_space("macro").scaled(0.25)
    train_supernet(settings, space, digits, Workspace(tmp_path))
    fairness = json.loads((tmp_path / "fairness.json").read_text())
    trained = load_file(tmp_path / "weights.safetensors")
    torch.manual_seed(settings.seed)
    moved = {
        (int(name.split(".")[1]), int(name.split(".")[2]))
        for name, start in build_supernet(space, 10).named_parameters()
        if name.startswith("layers.") and not torch.equal(start, trained[name])
    }
    counts = np.array(fairness["counts"])
    sampled = {(layer, choice) for layer, choice in np.argwhere(counts > 0).tolist()}
    weightless = {(layer, 0) for layer in (1, 3, 4, 6, 7)}
    assert (counts == 0).any()
    everything = {(layer, choice) for layer in range(8) for choice in range(3)}
    assert moved == (sampled if unsampled == "frozen" else everything) - weightless


@pytest.mark.parametrize("name", ["one-shot", "expectation", "proportional"])
def test_a_training_that_pauses_after_every_update_ends_as_an_unbroken_one(
    name: str, digits: Dataset, tmp_path: Path
) -> None:
    settings = config(f"supernet.sampling={name}")
    space = any_space("nasbench201").scaled(0.25)
    train_supernet(settings, space, digits, Workspace(tmp_path / "whole"))
    pauses = 0
    for _ in range(100):
        try:
            train_supernet(settings, space, digits, Workspace(tmp_path / "pieces", deadline=0))
            break
        except Paused:
            pauses += 1
    assert pauses == json.loads((tmp_path / "whole" / "fairness.json").read_text())["steps"]
    for file in ("weights.safetensors", "fairness.json"):
        assert (tmp_path / "pieces" / file).read_bytes() == (tmp_path / "whole" / file).read_bytes()
