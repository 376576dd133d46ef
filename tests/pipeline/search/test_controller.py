"""The controller: closed genes stay, open ones change, what pays becomes likely; and what it is paid for."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
import torch
from fairnas.pipeline.search.algorithm_settings import ControllerConfig, HierarchicalMutationConfig
from fairnas.pipeline.search.algorithms.controller import Controller
from fairnas.pipeline.search.algorithms.mnasnet import MixedReward
from fairnas.pipeline.search.algorithms.mutation import HierarchicalMutation, open_genes, other_values
from fairnas.pipeline.search.algorithms.packing import pack, unpack
from fairnas.pipeline.search.algorithms.rewards import hypervolume_reward, rank_reward

LAYERS, CHOICES = 6, 4
GENES = (CHOICES,) * LAYERS


def trained(worth: Callable[[np.ndarray], np.ndarray], generations: int = 25) -> Controller:
    """A controller that wrote whole genomes and was rewarded for them."""
    controller = Controller(GENES, ControllerConfig(hidden=24, lr=0.02), seed=0)
    rng = np.random.default_rng(0)
    for _ in range(generations):
        chosen = written(controller, 32, rng)
        controller.learn([tuple(row) for row in chosen.tolist()], worth(chosen))
    return controller


def written(controller: Controller, count: int, rng: np.random.Generator) -> np.ndarray:
    blank = np.full((count, LAYERS), CHOICES)
    return controller.propose(blank, np.ones_like(blank, dtype=bool), rng)


def share(genomes: np.ndarray, value: int) -> float:
    return float((genomes == value).mean())


def test_an_untrained_controller_draws_all_values_alike() -> None:
    chosen = written(Controller(GENES, ControllerConfig(), seed=0), 4000, np.random.default_rng(1))
    counts = [(chosen == value).mean(axis=0) for value in range(CHOICES)]
    assert np.abs(np.array(counts) - 1 / CHOICES).max() < 0.03


def test_a_choice_that_pays_becomes_likely() -> None:
    controller = trained(lambda chosen: (chosen == 2).mean(axis=1))
    assert share(written(controller, 500, np.random.default_rng(1)), 2) > 0.8


def test_the_controller_can_learn_what_depends_on_the_choice_before() -> None:
    """Paid for repeating the value of the gene before: no choice of one gene alone is worth more than another."""
    controller = trained(lambda chosen: (chosen[:, 1:] == chosen[:, :-1]).mean(axis=1), generations=80)
    chosen = written(controller, 500, np.random.default_rng(1))
    assert float((chosen[:, 1:] == chosen[:, :-1]).mean()) > 0.7


def test_rewards_that_are_all_equal_teach_nothing_but_variety() -> None:
    chosen = written(trained(lambda chosen: np.full(len(chosen), 0.7)), 2000, np.random.default_rng(1))
    assert max(share(chosen, value) for value in range(CHOICES)) < 0.35


def test_open_genes_change_and_closed_ones_stay() -> None:
    controller = trained(lambda chosen: (chosen == 2).mean(axis=1), generations=10)
    rng = np.random.default_rng(2)
    genomes = rng.integers(CHOICES, size=(200, LAYERS))
    genes = rng.random(genomes.shape) < 0.4
    chosen = controller.propose(genomes, genes, rng)
    assert (chosen[~genes] == genomes[~genes]).all()
    assert (chosen[genes] != genomes[genes]).all()
    assert chosen.min() >= 0
    assert chosen.max() < CHOICES


def test_a_controller_stays_among_the_values_that_each_gene_has() -> None:
    counts = (2, 5, 1, 3)
    controller = Controller(counts, ControllerConfig(hidden=16), seed=0)
    rng = np.random.default_rng(0)
    for _ in range(5):
        chosen = controller.propose(np.full((400, 4), controller.none), np.ones((400, 4), dtype=bool), rng)
        assert [sorted(set(column)) for column in chosen.T.tolist()] == [list(range(count)) for count in counts]
        rewards = (chosen[:, 1] == 4).astype(float)
        controller.learn([tuple(row) for row in chosen.tolist()], rewards)
    genomes = np.stack([rng.integers(count, size=400) for count in counts], axis=1)
    genes = rng.random(genomes.shape) < 0.5
    changed = controller.propose(genomes, genes, rng)
    assert (changed < np.array(counts)).all()
    assert (changed[~genes] == genomes[~genes]).all()
    others = genes & (np.array(counts) > 1)
    assert (changed[others] != genomes[others]).all()


def test_mutations_stay_among_the_values_that_each_gene_has() -> None:
    counts, rng = (2, 5, 1, 3), np.random.default_rng(0)
    genomes = np.stack([rng.integers(count, size=2000) for count in counts], axis=1)
    drawn = other_values(genomes, counts, rng)
    assert (drawn < np.array(counts)).all()
    assert (drawn != genomes).all(axis=0).tolist() == [True, True, False, True]
    for gene, count in enumerate(counts):
        pairs = {(before, after) for before, after in zip(genomes[:, gene], drawn[:, gene], strict=True)}
        assert len(pairs) == max(1, count * (count - 1))
    settings = HierarchicalMutationConfig.model_validate({"random": 0, "reinforced": 0, "prior": 1, "ratio": 1})
    prior = HierarchicalMutation(counts, settings, 1.0, Controller(counts, settings.controller, 0))
    mutated = prior.mutate(genomes, genomes[:20], rng)
    assert [sorted(set(column)) for column in mutated.T.tolist()] == [list(range(count)) for count in counts]


def test_drawing_step_by_step_and_reading_at_once_give_the_same_probabilities() -> None:
    policy = trained(lambda chosen: (chosen == 2).mean(axis=1), generations=10).policy
    rng = np.random.default_rng(3)
    present = torch.from_numpy(rng.integers(CHOICES, size=(50, LAYERS)))
    genes = torch.from_numpy(rng.random((50, LAYERS)) < 0.5)
    with torch.no_grad():
        chosen, drawn = policy.sample(present, genes, torch.from_numpy(rng.random((50, LAYERS), dtype=np.float32)))
        read = policy(present, genes, chosen).gather(-1, chosen[..., None])[..., 0]
    torch.testing.assert_close(read, drawn, rtol=1e-4, atol=1e-5)
    assert torch.equal(drawn[~genes], torch.zeros_like(drawn[~genes]))


def test_only_its_own_proposals_teach_the_controller() -> None:
    controller = Controller(GENES, ControllerConfig(), seed=0)
    before = controller.state()["weights"]
    controller.learn([(0,) * LAYERS], np.ones(1))
    assert controller.state()["weights"] == before
    rng = np.random.default_rng(0)
    chosen = written(controller, 8, rng)
    controller.learn([tuple(row) for row in chosen.tolist()], rng.random(8))
    assert controller.state()["weights"] != before


@pytest.mark.parametrize("dtype", ["float32", "float64", "int64", "bool"])
def test_arrays_are_packed_bit_for_bit(dtype: str) -> None:
    array = (np.random.default_rng(0).standard_normal((3, 0, 2)) * 1e-3).astype(dtype)
    odd = np.array([[0.1, -0.0, 1e-40, np.inf]]) if "float" in dtype else np.array([[0, 1]])
    for values in (array, odd.astype(dtype), np.array(3).astype(dtype)):
        again = unpack(pack(values))
        assert again.dtype == values.dtype
        assert again.shape == values.shape
        assert again.tobytes() == values.tobytes()


def hierarchy(**shares: float) -> HierarchicalMutation:
    settings = HierarchicalMutationConfig.model_validate({"random": 0, "reinforced": 0, "prior": 0, **shares})
    return HierarchicalMutation(GENES, settings, 1 / LAYERS, Controller(GENES, settings.controller, 0))


@pytest.mark.parametrize("kind", ["random", "reinforced", "prior"])
def test_the_ratio_is_the_share_of_children_that_mutate(kind: str) -> None:
    rng = np.random.default_rng(0)
    children = rng.integers(CHOICES, size=(2000, LAYERS))
    for ratio in (0.0, 0.8, 1.0):
        mutated = hierarchy(ratio=ratio, **{kind: 1.0}).mutate(children, children[:20], rng)
        assert (mutated != children).any(axis=1).mean() == pytest.approx(ratio, abs=0.03)


def test_prior_mutation_takes_what_survivors_carry() -> None:
    rng = np.random.default_rng(0)
    survivors = np.full((62, LAYERS), 3)
    children = np.zeros((1000, LAYERS), dtype=np.int64)
    mutated = hierarchy(ratio=1.0, prior=1.0).mutate(children, survivors, rng)
    # Weights of 1, 1 and 63 for the values that it does not have.
    assert (mutated[mutated != 0] == 3).mean() == pytest.approx(63 / 65, abs=0.02)
    by_chance = hierarchy(ratio=1.0, random=1.0).mutate(children, survivors, rng)
    assert (by_chance[by_chance != 0] == 3).mean() == pytest.approx(1 / 3, abs=0.05)


def test_mutating_always_means_another_value_and_at_least_one_gene() -> None:
    rng = np.random.default_rng(0)
    genomes = rng.integers(CHOICES, size=(500, LAYERS))
    assert (other_values(genomes, GENES, rng) != genomes).all()
    assert open_genes(500, LAYERS, 0.1, rng).any(axis=1).all()
    assert (open_genes(500, LAYERS, 0.0, rng).sum(axis=1) == 1).all()


def test_rewards_follow_rank_or_the_hypervolume_that_only_a_member_brings() -> None:
    objectives = np.array([[0.0, 1.0], [0.5, 0.5], [1.0, 0.0], [0.6, 0.6], [0.1, 0.1]])
    violations = np.array([0, 0, 0, 0, 0.5])
    assert rank_reward(np.array([2, 0, 1, 3, 4]), objectives, violations).tolist() == [0.75, 0.5, 1.0, 0.25, 0.0]
    found = hypervolume_reward(np.arange(5), objectives, violations)
    # By hand, with the reference at 1.1: the middle alone brings 0.5 * 0.5, an end 0.1 * 0.5.
    assert found.argmax() == 1
    assert found[3] == found[4] == 0
    assert found[0] == pytest.approx(0.1 * 0.5 / 0.25)


def test_a_mixed_reward_is_mnasnets_equation_with_hard_limits() -> None:
    reward = MixedReward(accuracy=0, costs=(1, 2), signs=(-1.0, 1.0, -1.0), exponent=-0.07)
    objectives = np.array([[-0.7, 80.0, -5e6], [-0.7, 160.0, -5e6], [-0.7, 80.0, -10e6]])
    found = reward(objectives, np.array([0, 0, 1.0]), np.array([80.0, 5e6]))
    assert found[0] == pytest.approx(0.7)
    assert found[1] == pytest.approx(0.7 * 2**-0.07)
    # Parameters are maximised here: twice as many are better. The broken limit halves it.
    assert found[2] == pytest.approx(0.7 * 2**0.07 / 2)
