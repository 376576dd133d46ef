"""Strict fairness: what one step does to every weight, and how paths are drawn and counted."""

from __future__ import annotations

import json
from collections.abc import Sequence
from itertools import permutations
from pathlib import Path
from typing import Literal, cast

import numpy as np
import pytest
import torch
from fairnas.models import Supernet, get_space
from fairnas.pipeline.check_settings import load_config
from fairnas.pipeline.data import Augment, load_dataset, train_batches
from fairnas.pipeline.runs.run import Workspace
from fairnas.pipeline.supernet.sampling.ledger import FairnessLedger
from fairnas.pipeline.supernet.sampling.strict import StrictFairSampling
from fairnas.pipeline.supernet.step import SampledPath, accumulate_gradients
from fairnas.pipeline.supernet.train import train_supernet
from safetensors.torch import load_file
from scipy import stats
from torch import Tensor
from torch.nn import functional

M = 6


def digits(batch_size: int) -> tuple[Tensor, Tensor]:
    """One real training batch."""
    data = load_dataset("digits", heldout=0.2, seed=0)
    augment = Augment(level="crop", scale=(0.6, 1.0), flip=0.0)
    return next(train_batches(data.train, batch_size=batch_size, resolution=32, augment=augment, seed=0, epoch=0))


def single_path_gradients(
    supernet: Supernet, images: Tensor, labels: Tensor, paths: Sequence[SampledPath]
) -> list[dict[int, Tensor]]:
    """What each path alone gives: from its stand-alone network, by address of the supernet's own weight."""
    gradients: list[dict[int, Tensor]] = []
    for path in paths:
        architecture = supernet.space.architecture(cast(list[int], path))
        network = supernet.standalone(architecture).to(images.dtype).train()
        functional.cross_entropy(network(images), labels).backward()
        weights = supernet.path_state_dict(architecture)
        found = {weights[name].data_ptr(): parameter.grad for name, parameter in network.named_parameters()}
        gradients.append({address: grad for address, grad in found.items() if grad is not None})
    return gradients


@pytest.mark.parametrize("space", ["a", "b"])
@pytest.mark.parametrize("shared", ["sum", "mean"])
@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float64, 1e-9), (torch.float32, 1e-4)])
def test_a_step_adds_up_single_path_gradients(
    space: str, shared: Literal["sum", "mean"], dtype: torch.dtype, tolerance: float
) -> None:
    torch.manual_seed(1)
    supernet = Supernet(get_space(space).scaled(0.25), num_classes=10).to(dtype).train()
    images, labels = digits(batch_size=8)
    images = images.to(dtype)
    layers = len(supernet.space.layers)
    paths = StrictFairSampling((M,) * layers, seed=3).sample()
    # Before the step: batch norm's running statistics move with every path, single or not.
    single = single_path_gradients(supernet, images, labels, paths)

    accumulate_gradients(supernet, [(images, labels)], paths, functional.cross_entropy, shared_gradients=shared)

    def assert_equal(parameter: torch.nn.Parameter, expected: Tensor) -> None:
        assert parameter.grad is not None
        scale = expected.norm()
        # A bias that the next batch norm takes out again has no gradient but rounding, which is held against the rest.
        if scale < floor:
            scale = typical
        assert (parameter.grad - expected).norm() <= tolerance * scale

    norms = torch.stack([gradient.norm() for gradients in single for gradient in gradients.values()])
    typical = norms.median()
    floor = typical * torch.finfo(dtype).eps * 100
    compared = 0
    for layer, candidates in enumerate(supernet.layers):
        for choice, block in enumerate(candidates.children()):
            (path,) = np.flatnonzero(np.array(paths)[:, layer] == choice)
            for parameter in block.parameters():
                assert_equal(parameter, single[path][parameter.data_ptr()])
                holders = [k for k, gradients in enumerate(single) if parameter.data_ptr() in gradients]
                assert holders == [path]
                compared += 1
    for parameter in supernet.shared_parameters():
        total = torch.zeros_like(parameter)
        for gradients in single:
            total += gradients[parameter.data_ptr()]
        assert_equal(parameter, total / M if shared == "mean" else total)
        compared += 1
    assert compared == len(list(supernet.parameters()))
    # All but the few biases without a gradient were compared with their own norm.
    assert (norms < floor).float().mean() < 0.2


def test_choice_blocks_do_not_depend_on_how_shared_gradients_are_scaled() -> None:
    images, labels = digits(batch_size=4)
    paths = StrictFairSampling((M,) * 16, seed=0).sample()
    gradients = {}
    for shared in ("sum", "mean"):
        torch.manual_seed(0)
        supernet = Supernet(get_space("a").scaled(0.25), num_classes=10)
        loss = accumulate_gradients(
            supernet, [(images, labels)], paths, functional.cross_entropy, shared_gradients=shared
        )
        assert not loss.requires_grad
        gradients[shared] = {name: p.grad for name, p in supernet.named_parameters()}
    for name, summed in gradients["sum"].items():
        factor = 1 if name.startswith("layers.") else M
        torch.testing.assert_close(gradients["mean"][name] * factor, summed, rtol=1e-6, atol=0)


def test_the_loss_of_a_step_is_the_mean_over_its_paths() -> None:
    images, labels = digits(batch_size=4)
    paths = StrictFairSampling((M,) * 16, seed=0).sample()
    torch.manual_seed(0)
    supernet = Supernet(get_space("a").scaled(0.25), num_classes=10)
    expected = np.mean([functional.cross_entropy(supernet(images, path), labels).item() for path in paths])
    loss = accumulate_gradients(supernet, [(images, labels)], paths, functional.cross_entropy)
    assert loss.item() == pytest.approx(expected, rel=1e-5)


def test_training_makes_one_update_per_step_of_m_passes(tmp_path: Path) -> None:
    """One step of the real stage equals plain SGD with the summed gradients, from the same start on the same batch."""
    config = load_config("tiny", ["supernet.batch_size=1024", "supernet.lr=0.03", "supernet.weight_decay=0.01"])
    data = load_dataset("digits", heldout=0.2, seed=config.seed)
    space = get_space("b").scaled(0.25)
    torch.manual_seed(config.seed)
    start = Supernet(space, num_classes=10)
    paths = StrictFairSampling((M,) * 19, config.seed).sample()
    augment = config.supernet.augment
    (images, labels), *more = train_batches(
        data.train, batch_size=1024, resolution=32, augment=augment, seed=config.seed, epoch=0
    )
    assert not more
    start.to(memory_format=torch.channels_last)  # pyright: ignore[reportCallIssue]
    single = single_path_gradients(start, images, labels, paths)

    train_supernet(config, space, data, Workspace(tmp_path))

    trained = load_file(tmp_path / "weights.safetensors")
    for name, parameter in start.named_parameters():
        gradient = sum(g[parameter.data_ptr()] for g in single if parameter.data_ptr() in g)
        expected = parameter - 0.03 * (gradient + 0.01 * parameter)
        torch.testing.assert_close(trained[name], expected, rtol=1e-3, atol=1e-4, msg=name)
        assert not torch.equal(trained[name], parameter), name
    fairness = json.loads((tmp_path / "fairness.json").read_text())
    assert fairness["backward_passes"] == M
    assert fairness["counts"] == [[1] * M] * 19


def test_the_ledger_of_a_run_is_equal_after_every_step(tmp_path: Path) -> None:
    config = load_config("tiny", ["supernet.batch_size=256", "supernet.epochs=2"])
    data = load_dataset("digits", heldout=0.2, seed=config.seed)
    train_supernet(config, get_space("a").scaled(0.25), data, Workspace(tmp_path))
    fairness = json.loads((tmp_path / "fairness.json").read_text())
    steps = 2 * (len(data.train) // 256)
    assert fairness["steps"] == steps
    assert fairness["counts"] == [[steps] * M] * 16
    assert fairness["equal_after_every_step"] is True
    assert fairness["backward_passes"] == steps * M
    assert fairness["sampling"] == "strict"


def test_the_ledger_is_equal_after_every_step_and_notices_when_it_is_not() -> None:
    sampler, ledger = StrictFairSampling((M,) * 19, seed=0), FairnessLedger((M,) * 19)
    for step in range(1, 501):
        ledger.record(sampler.sample())
        assert (ledger.counts == step).all()
    assert ledger.equal_after_every_step
    unfair = np.array(sampler.sample())
    unfair[0, 7] = unfair[1, 7]
    unfair = unfair.tolist()
    ledger.record(unfair)
    assert not ledger.equal_after_every_step
    # Counts that even out later do not make good a step that was unfair.
    repair = np.tile(np.arange(M), (19, 1)).T
    repair[:, 7] = [c for c in range(M) for _ in range(502 - int(ledger.counts[7, c]))]
    ledger.record(repair.tolist())
    assert (ledger.counts == 502).all()
    assert not ledger.equal_after_every_step


def test_the_ledger_goes_on_from_its_state() -> None:
    sampler, ledger = StrictFairSampling((M,) * 16, seed=0), FairnessLedger((M,) * 16)
    ledger.record(sampler.sample())
    copy = FairnessLedger((M,) * 16)
    copy.load_state(json.loads(json.dumps(ledger.state())))
    for each in (ledger, copy):
        each.record(np.tile(np.arange(M), (16, 1)).T.tolist())
    assert copy.state() == ledger.state()
    assert (copy.counts == 2).all()


@pytest.fixture(scope="module")
def draws() -> np.ndarray:
    """The paths of 6,000 steps: `[step, path, layer]`."""
    sampler = StrictFairSampling((M,) * 19, seed=2024)
    return np.stack([np.array(sampler.sample()) for _ in range(6000)])


# With fixed seeds these chances are drawn once: a correct sampler fails one test in about 10,000 sets of seeds.
CHANCE = 1e-4


def chi_square_p(observed: np.ndarray) -> float:
    return float(stats.chisquare(observed.ravel()).pvalue)


def independence_p(table: np.ndarray) -> float:
    _, p, *_ = stats.chi2_contingency(table)
    return float(p)  # type: ignore[arg-type]


def test_every_column_is_a_permutation(draws: np.ndarray) -> None:
    assert (np.sort(draws, axis=1) == np.arange(M)[None, :, None]).all()


def test_permutations_are_uniform(draws: np.ndarray) -> None:
    numbers = {permutation: number for number, permutation in enumerate(permutations(range(M)))}
    for layer in range(19):
        counts = np.zeros(720)
        for permutation in draws[:, :, layer].tolist():
            counts[numbers[tuple(permutation)]] += 1
        assert chi_square_p(counts) > CHANCE / 19, layer


def test_layers_are_independent_of_each_other(draws: np.ndarray) -> None:
    for one in range(19):
        for other in range(one):
            table = np.zeros((M, M))
            np.add.at(table, (draws[:, 0, one], draws[:, 0, other]), 1)
            assert chi_square_p(table) > CHANCE / 171, (one, other)


def test_steps_are_independent_of_each_other(draws: np.ndarray) -> None:
    for layer in range(19):
        for path in range(M):
            table = np.zeros((M, M))
            np.add.at(table, (draws[:-1, path, layer], draws[1:, path, layer]), 1)
            assert independence_p(table) > CHANCE / 114, (layer, path)
    # A step's paths as a whole hardly ever come twice: (6!)^18 different sets of them.
    assert len({step.tobytes() for step in draws}) == 6000


def test_a_sampler_goes_on_from_its_state() -> None:
    sampler = StrictFairSampling((M,) * 19, seed=5)
    sampler.sample()
    copy = StrictFairSampling((M,) * 19, seed=6)
    copy.load_state(json.loads(json.dumps(sampler.state())))
    for _ in range(5):
        assert copy.sample() == sampler.sample()
    again = StrictFairSampling((M,) * 19, seed=5)
    assert again.sample() != StrictFairSampling((M,) * 19, seed=6).sample()
