"""What somebody adds to the search takes one class or file, and one line of a list: nothing else knows of it."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from fairnas.models import (
    BENCHMARKS,
    Architecture,
    BenchmarkSpace,
    Block,
    Cost,
    LayeredSupernet,
    Space,
    any_space,
    get_space,
    list_spaces,
    parse_any_network,
)
from fairnas.models.spaces.registry import MOBILE
from fairnas.pipeline.cli.devices import models
from fairnas.pipeline.config import read_config
from fairnas.pipeline.data import Dataset, load_dataset
from fairnas.pipeline.errors import UserError
from fairnas.pipeline.ranking.truth import read_truth
from fairnas.pipeline.runs.run import Workspace
from fairnas.pipeline.search.algorithms import ALGORITHMS
from fairnas.pipeline.search.algorithms.interface import Algorithm, Genome
from fairnas.pipeline.search.algorithms.packing import pack, unpack
from fairnas.pipeline.search.settings import SearchConfig
from fairnas.pipeline.supernet.sampling import SAMPLINGS
from fairnas.pipeline.supernet.sampling.interface import RandomSampling
from fairnas.pipeline.supernet.settings import SupernetConfig
from fairnas.pipeline.supernet.similarity import compare_blocks
from fairnas.pipeline.supernet.step import SampledPath
from fairnas.pipeline.supernet.train import load_supernet, train_supernet

from ..models import test_benchmark_spaces as benchmark_contract
from ..models import test_cost as cost_contract
from ..models import test_supernet as supernet_contract
from ..pipeline import test_sampling as sampling_contract
from ..pipeline.search import test_algorithms as algorithm_contract

MOBILE_SPACE = """
description: 6 layers with 3 choices
stem_channels: 16
separable_channels: 8
head_channels: 64
choices: [E3K3, E6K5, E3K7]
layers:
  - {stage: 1, channels: 16, repeat: 1, stride: 2}
  - {stage: 2, channels: 24, repeat: 2, stride: 2}
  - {stage: 3, channels: 32, repeat: 1, stride: 2}
  - {stage: 4, channels: 48, repeat: 2, stride: 2}
"""


class PlainSpace(BenchmarkSpace):
    """A stem, three convolutions that may be left out, and a classifier."""

    name = "plain"
    description = "three convolutions of three kinds"
    layers = ("one", "two", "three")
    choices = ("skip", "conv3", "conv5")

    def cost(self, architecture: Architecture, resolution: int = 32, num_classes: int = 10) -> Cost:
        blocks = [Block("conv", 3, self.channels, resolution, 2, 3)]
        inner = blocks[0].out_resolution
        kernels = [2 * choice + 1 for choice in architecture.choices if choice]
        blocks += [Block("conv", self.channels, self.channels, inner, 1, kernel) for kernel in kernels]
        blocks.append(Block("classifier", self.channels, num_classes, inner))
        return sum((block.cost for block in blocks), Cost())

    def supernet(self, num_classes: int) -> LayeredSupernet:
        from torch import nn

        def convolution(in_channels: int, kernel: int, stride: int = 1) -> nn.Module:
            convolved = nn.Conv2d(in_channels, self.channels, kernel, stride, kernel // 2, bias=False)
            return nn.Sequential(convolved, nn.BatchNorm2d(self.channels), nn.ReLU())

        kinds = [nn.Identity, lambda: convolution(self.channels, 3), lambda: convolution(self.channels, 5)]
        return LayeredSupernet(
            self,
            num_classes,
            convolution(3, 3, 2),
            [[kind() for kind in kinds[:count]] for count in self.genes],
            nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(self.channels, num_classes)),
        )


class UnevenSpace(PlainSpace):
    """The same with fewer choices in the first and the last layer."""

    name = "uneven"

    @property
    def genes(self) -> tuple[int, ...]:
        return (2, 3, 1)


class HillClimbing(Algorithm):
    """Gives some genes of the best genome so far new values."""

    def __init__(self, genes: Sequence[int], population: int, seed: int) -> None:
        super().__init__(genes, population, seed)
        self._best, self._worth = np.empty((0, len(genes)), dtype=np.int64), np.full(2, np.inf)

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
    settings: SearchConfig, genes: Sequence[int], seed: int, limits: Mapping[str, float]
) -> HillClimbing:
    return HillClimbing(genes, settings.population, seed)


class Alternating(RandomSampling):
    """A uniform path, and the one that takes the next choice in every layer."""

    passes = 2

    def sample(self) -> list[SampledPath]:
        path = self._uniform_path()
        return [path, [(choice + 1) % count for choice, count in zip(path, self.genes, strict=True)]]


def make_alternating(
    settings: SupernetConfig, space: Space, num_classes: int, seed: int, backward_passes: int
) -> Alternating:
    return Alternating(space.genes, seed)


@pytest.fixture
def algorithm(monkeypatch: pytest.MonkeyPatch) -> str:
    monkeypatch.setitem(ALGORITHMS, "hill-climbing", make_hill_climbing)
    return "hill-climbing"


@pytest.fixture
def sampling(monkeypatch: pytest.MonkeyPatch) -> str:
    monkeypatch.setitem(SAMPLINGS, "alternating", make_alternating)
    return "alternating"


@pytest.fixture
def mobile_space(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    (tmp_path / "small.yaml").write_text(MOBILE_SPACE)
    monkeypatch.setitem(MOBILE, "small", tmp_path / "small.yaml")
    return "small"


@pytest.fixture
def benchmark_space(monkeypatch: pytest.MonkeyPatch) -> str:
    monkeypatch.setitem(BENCHMARKS, "plain", PlainSpace(channels=16))
    return "plain"


@pytest.fixture
def uneven_space(monkeypatch: pytest.MonkeyPatch) -> str:
    monkeypatch.setitem(BENCHMARKS, "uneven", UnevenSpace(channels=16))
    return "uneven"


@pytest.mark.parametrize(
    "promise",
    [
        algorithm_contract.test_a_seed_decides_everything,
        algorithm_contract.test_random_numbers_of_others_are_left_alone_and_not_used,
        algorithm_contract.test_threads_of_torch_change_nothing_and_stay_as_they_were,
        algorithm_contract.test_a_state_saved_between_asking_and_telling_is_whole_too,
        algorithm_contract.test_no_genome_is_asked_twice_and_all_are_valid,
        algorithm_contract.test_genes_may_differ_in_how_many_values_they_have,
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


@pytest.mark.parametrize(
    "promise",
    [
        supernet_contract.test_a_path_equals_the_stand_alone_network,
        supernet_contract.test_paths_differ_in_one_layer_only_where_their_choices_do,
        supernet_contract.test_a_supernet_holds_every_choice_once_and_the_fixed_parts_once,
        supernet_contract.test_a_path_with_squeeze_and_excitation_is_refused,
    ],
)
def test_a_mobile_space_of_somebody_has_a_supernet(promise: Callable[..., None], mobile_space: str) -> None:
    promise(supernet_contract.uneven_supernet(mobile_space))


@pytest.mark.parametrize(("width", "se_ratio"), [(0.5, 0.0), (0.5, 1.0)])
def test_a_mobile_space_of_somebody_is_counted(width: float, se_ratio: float, mobile_space: str) -> None:
    cost_contract.test_arithmetic_equals_the_trace_at_other_sizes(mobile_space, width, se_ratio)
    cost_contract.test_every_block_equals_its_real_module(get_space(mobile_space).scaled(width))


def test_a_mobile_space_of_somebody_is_a_setting_and_is_listed(
    mobile_space: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert read_config("tiny", [f"space={mobile_space}"]).proxy_space.name == mobile_space
    assert list_spaces() == ["a", "b", mobile_space]
    with pytest.raises(UserError, match="unknown search space 'smal': choose from a, b, small, macro, nasbench201"):
        read_config("tiny", ["space=smal"])
    with pytest.raises(UserError, match="space small halves its input five times"):
        read_config("tiny", [f"space={mobile_space}", "proxy.resolution=16"])
    architecture = get_space(mobile_space).sample(np.random.default_rng(0)).with_se(0.5)
    assert parse_any_network(str(architecture)) == architecture
    models(as_json=True)
    listed = {row["name"]: row["architecture"] for row in json.loads(capsys.readouterr().out)}
    assert listed["small-all-E3K3"] == "small:E3K3-E3K3-E3K3-E3K3-E3K3-E3K3"
    assert listed["small-all-E6K5"] == "small:E6K5-E6K5-E6K5-E6K5-E6K5-E6K5"


def test_a_benchmark_of_somebody_passes_what_every_benchmark_must(benchmark_space: str) -> None:
    for width in (1.0, 0.5):
        benchmark_contract.test_what_a_path_trains_is_what_its_network_has(benchmark_space, width)
    benchmark_contract.test_a_set_of_choices_is_the_mean_of_their_outputs(benchmark_space)
    benchmark_contract.test_texts_round_trip(benchmark_space)


@pytest.mark.parametrize("name", SAMPLINGS)
def test_every_sampling_draws_from_spaces_of_somebody(
    name: str, mobile_space: str, benchmark_space: str, uneven_space: str
) -> None:
    for space in (mobile_space, benchmark_space, uneven_space):
        sampling_contract.test_paths_have_a_valid_choice_in_every_layer(name, space)


def test_a_benchmark_of_somebody_is_a_setting(benchmark_space: str, tmp_path: Path) -> None:
    here = [f"space={benchmark_space}", "supernet.init=independent"]
    assert read_config("tiny", [*here, "proxy.resolution=16"]).proxy_space.name == benchmark_space
    with pytest.raises(UserError, match="choose from a, b, macro, nasbench201, plain"):
        read_config("tiny", ["space=plane"])
    with pytest.raises(UserError, match=r"proxy\.cells is for space nasbench201, not for plain"):
        read_config("tiny", [*here, "proxy.cells=2"])
    with pytest.raises(UserError, match=r"supernet\.init=aligned is for mobile spaces, not for plain"):
        read_config("tiny", [f"space={benchmark_space}", "supernet.init=aligned"])
    with pytest.raises(ValueError, match="has no squeeze-and-excitation"):
        Architecture.parse("plain:skip-skip-skip+se1")
    (tmp_path / "table.csv").write_text("arch,accuracy\n012,0.5\n210,0.6\n")
    truth = read_truth(tmp_path / "table.csv", None, any_space(benchmark_space))
    assert [str(architecture) for architecture in truth.accuracies] == [
        "plain:skip-conv3-conv5",
        "plain:conv5-conv3-skip",
    ]


def test_a_supernet_of_somebody_is_trained_and_looked_into(
    benchmark_space: str, digits: Dataset, tmp_path: Path
) -> None:
    config = sampling_contract.config(f"space={benchmark_space}")
    train_supernet(config, config.proxy_space, digits, Workspace(tmp_path))
    weights = (tmp_path / "weights.safetensors").read_bytes()
    supernet = load_supernet(weights, config.proxy_space, len(digits.classes))
    counts = json.loads((tmp_path / "fairness.json").read_text())["counts"]
    assert len(counts) == 3
    assert all(len(layer) == 3 and set(layer) == {counts[0][0]} for layer in counts)
    compare_blocks(supernet, digits.heldout, 16, 16, 2, 0, Workspace(tmp_path))
    found = json.loads((tmp_path / "similarity.json").read_text())
    assert (found["where"], found["names"]) == ("layer", ["1", "2", "3"])


def test_layers_may_differ_in_how_many_choices_they_have(uneven_space: str) -> None:
    space, rng = any_space(uneven_space), np.random.default_rng(0)
    assert space.size == 6
    drawn = {space.sample(rng) for _ in range(200)}
    assert {architecture.choices for architecture in drawn} == {(a, b, 0) for a in range(2) for b in range(3)}
    assert {Architecture.parse(str(architecture)) for architecture in drawn} == drawn
    with pytest.raises(ValueError, match="layer 1 of space uneven does not take 'conv5': choose from skip, conv3"):
        Architecture.parse("uneven:conv5-skip-skip")


@pytest.mark.parametrize("name", SAMPLINGS)
def test_samplings_reach_all_choices_of_layers_that_differ_in_number(
    name: str, uneven_space: str, digits: Dataset, tmp_path: Path
) -> None:
    """In an epoch of 6 batches strict fairness makes 6 updates of 6 paths: the least multiple of 2, 3 and 1."""
    config = sampling_contract.config(f"space={uneven_space}", f"supernet.sampling={name}")
    train_supernet(config, config.proxy_space, digits, Workspace(tmp_path))
    fairness = json.loads((tmp_path / "fairness.json").read_text())
    assert [len(layer) for layer in fairness["counts"]] == [2, 3, 1]
    assert all(min(layer) > 0 for layer in fairness["counts"])
    assert fairness["backward_passes"] == pytest.approx(72, rel=0.15 if name == "one-shot" else 1e-9)
    assert fairness["equal_after_every_step"] is (name == "strict")
    if name == "strict":
        assert fairness["counts"] == [[36, 36], [24, 24, 24], [72]]
