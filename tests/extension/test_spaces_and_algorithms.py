"""What somebody adds to the search takes one class or file, and one line of a list: nothing else knows of it."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from fairnas.models import Space
from fairnas.pipeline.config import read_config
from fairnas.pipeline.data import Dataset, load_dataset
from fairnas.pipeline.errors import UserError
from fairnas.pipeline.search.algorithms import ALGORITHMS
from fairnas.pipeline.search.algorithms.interface import Algorithm, Genome
from fairnas.pipeline.search.algorithms.packing import pack, unpack
from fairnas.pipeline.search.settings import SearchConfig
from fairnas.pipeline.supernet.sampling import SAMPLINGS
from fairnas.pipeline.supernet.sampling.interface import RandomSampling
from fairnas.pipeline.supernet.settings import SupernetConfig
from fairnas.pipeline.supernet.step import SampledPath

from ..pipeline import test_sampling as sampling_contract
from ..pipeline.search import test_algorithms as algorithm_contract


class HillClimbing(Algorithm):
    """Gives some genes of the best genome so far new values."""

    def __init__(self, layers: int, choices: int, population: int, seed: int) -> None:
        super().__init__(layers, choices, population, seed)
        self._best, self._worth = np.empty((0, layers), dtype=np.int64), np.full(2, np.inf)

    def tell(self, genomes: Sequence[Genome], objectives: np.ndarray, violations: np.ndarray) -> None:
        for genome, *worth in zip(genomes, violations, objectives[:, 0], strict=True):
            if tuple(worth) < tuple(self._worth):
                self._best, self._worth = np.array([genome]), np.array(worth)

    def _propose(self, count: int) -> np.ndarray:
        values = self._random(count)
        if not len(self._best):
            return values
        return np.where(self._rng.random(values.shape) < 0.2, values, self._best)

    def state(self) -> dict[str, Any]:
        return super().state() | {"best": pack(self._best), "worth": pack(self._worth)}

    def load_state(self, state: dict[str, Any]) -> None:
        super().load_state(state)
        self._best, self._worth = unpack(state["best"]), unpack(state["worth"])


def make_hill_climbing(
    settings: SearchConfig, layers: int, choices: int, seed: int, limits: Mapping[str, float]
) -> HillClimbing:
    return HillClimbing(layers, choices, settings.population, seed)


class Alternating(RandomSampling):
    """A uniform path, and the one that takes the next choice in every layer."""

    passes = 2

    def sample(self) -> list[SampledPath]:
        path = self._uniform_path()
        return [path, [(choice + 1) % self.choices for choice in path]]


def make_alternating(
    settings: SupernetConfig, space: Space, num_classes: int, seed: int, backward_passes: int
) -> Alternating:
    return Alternating(len(space.layers), len(space.choices), seed)


@pytest.fixture
def algorithm(monkeypatch: pytest.MonkeyPatch) -> str:
    monkeypatch.setitem(ALGORITHMS, "hill-climbing", make_hill_climbing)
    return "hill-climbing"


@pytest.fixture
def sampling(monkeypatch: pytest.MonkeyPatch) -> str:
    monkeypatch.setitem(SAMPLINGS, "alternating", make_alternating)
    return "alternating"


@pytest.mark.parametrize(
    "promise",
    [
        algorithm_contract.test_a_seed_decides_everything,
        algorithm_contract.test_random_numbers_of_others_are_left_alone_and_not_used,
        algorithm_contract.test_threads_of_torch_change_nothing_and_stay_as_they_were,
        algorithm_contract.test_a_state_saved_between_asking_and_telling_is_whole_too,
        algorithm_contract.test_no_genome_is_asked_twice_and_all_are_valid,
        algorithm_contract.test_a_search_finds_more_than_chance_does,
        algorithm_contract.test_from_an_infeasible_start_a_search_reaches_feasibility,
        algorithm_contract.test_a_long_search_costs_little_and_its_state_stays_small,
    ],
)
def test_an_algorithm_of_somebody_passes_what_every_algorithm_must(
    promise: Callable[[str], None], algorithm: str
) -> None:
    promise(algorithm)


@pytest.mark.parametrize("stop", [0, 1, 5])
def test_an_algorithm_of_somebody_goes_on_from_its_state(stop: int, algorithm: str) -> None:
    algorithm_contract.test_a_search_goes_on_from_its_state_as_if_never_stopped(algorithm, stop)


def test_an_algorithm_of_somebody_is_a_setting(algorithm: str) -> None:
    assert read_config("tiny", [f"search.algorithm={algorithm}"]).search.algorithm == algorithm
    with pytest.raises(UserError) as refused:
        read_config("tiny", ["search.algorithm=hill-climb"])
    assert str(refused.value) == (
        "search.algorithm: Input should be 'nsga2-reinforced', 'nsga2', 'random', 'mnasnet', 'regularized-evolution' "
        "or 'hill-climbing' (got 'hill-climb')"
    )
    described = SearchConfig.model_json_schema()["properties"]["algorithm"]
    assert described["enum"][-2:] == ["regularized-evolution", algorithm]


@pytest.fixture(scope="module")
def digits() -> Dataset:
    return load_dataset("digits", heldout=0.2, seed=0, train_images=192)


@pytest.mark.parametrize("space", ["b", "macro", "nasbench201"])
def test_a_sampling_of_somebody_passes_what_every_sampling_must(space: str, sampling: str) -> None:
    sampling_contract.test_paths_have_a_valid_choice_in_every_layer(sampling, space)
    sampling_contract.test_a_seed_decides_every_draw_and_a_state_goes_on(sampling)


def test_a_sampling_of_somebody_trains_a_supernet(sampling: str, digits: Dataset, tmp_path: Path) -> None:
    sampling_contract.test_all_samplings_train_for_as_many_backward_passes(sampling, digits, tmp_path)


def test_a_sampling_of_somebody_is_a_setting(sampling: str) -> None:
    assert read_config("tiny", [f"supernet.sampling={sampling}"]).supernet.sampling == sampling
    with pytest.raises(UserError) as refused:
        read_config("tiny", ["supernet.sampling=alternate"])
    assert str(refused.value) == (
        "supernet.sampling: Input should be 'strict', 'expectation', 'expectation-scaled', 'spos', 'one-shot', "
        "'proportional', 'independent' or 'alternating' (got 'alternate')"
    )
